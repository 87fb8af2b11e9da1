/** Real servers on 127.0.0.1, each with one way of behaving, closed together at the end of a test file. */
import http from "node:http";
import https from "node:https";
import net from "node:net";
import type { AddressInfo } from "node:net";
import type { Certificate } from "./self-signed.ts";

const opened: (net.Server | http.Server)[] = [];
const sockets = new Set<net.Socket>();

export async function closeAll(): Promise<void> {
  const closed = opened.splice(0).map((server) => new Promise((resolve) => server.close(resolve)));
  for (const socket of sockets) socket.destroy();
  await Promise.all(closed);
}

async function listen(server: net.Server | http.Server): Promise<number> {
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  opened.push(server);
  server.on("connection", (socket: net.Socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  return (server.address() as AddressInfo).port;
}

export async function httpServer(answer: http.RequestListener): Promise<string> {
  return `http://127.0.0.1:${await listen(http.createServer(answer))}`;
}

export async function httpsServer(certificate: Certificate, answer: http.RequestListener): Promise<string> {
  return `https://127.0.0.1:${await listen(https.createServer(certificate, answer))}`;
}

/** Speaks no HTTP: does what is told with the bare connection. */
export async function socketServer(talk: (socket: net.Socket) => void): Promise<string> {
  const server = net.createServer((socket) => {
    socket.on("error", () => socket.destroy());
    talk(socket);
  });
  return `http://127.0.0.1:${await listen(server)}`;
}

/** A port that was free a moment ago, where nobody listens. */
export async function deadPort(): Promise<string> {
  const server = net.createServer();
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return `http://127.0.0.1:${port}`;
}

export const pong: http.RequestListener = (_request, response) => {
  response.writeHead(200, { "content-type": "text/plain" }).end("pong");
};

/** `pong` after so many milliseconds. */
export function late(ms: number): http.RequestListener {
  return (request, response) => void setTimeout(() => pong(request, response), ms);
}
