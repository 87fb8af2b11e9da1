import tls from "node:tls";
import { afterAll, describe, expect, test } from "vitest";
import { failureOf, ProbeTimeout } from "../../tools/ip-tester/cause.ts";
import { probe } from "../../tools/ip-tester/probe.ts";
import { closeAll, deadPort, httpServer, httpsServer, late, pong, socketServer } from "./loopback.ts";
import { selfSignedCertificate } from "./self-signed.ts";

afterAll(closeAll);

function ask(
  url: string,
  more: { path?: string; expect?: string | null; timeoutMs?: number; headers?: Record<string, string> } = {},
) {
  const { path = "/ping", expect = "pong", timeoutMs = 5000, headers = {} } = more;
  return probe({ name: "server", url, path, headers }, { timeoutMs, expect });
}

async function failure(...args: Parameters<typeof ask>) {
  const result = await ask(...args);
  if (result.ok) throw new Error("the probe succeeded");
  return result.failure;
}

describe("a probe that succeeds", () => {
  test("the parts add up to no more than the whole, and the server's delay is in the first byte", async () => {
    const result = await ask(await httpServer(late(60)));
    if (!result.ok) throw new Error(result.failure.detail);
    const { dnsMs, tcpMs, tlsMs, firstByteMs, totalMs } = result.timings;
    expect(dnsMs).toBeNull();
    expect(tlsMs).toBeNull();
    expect(tcpMs).toBeGreaterThan(0);
    expect(firstByteMs).toBeGreaterThanOrEqual(59);
    expect(tcpMs + firstByteMs).toBeLessThanOrEqual(totalMs);
  });

  test("a host name has a look-up to measure", async () => {
    const url = (await httpServer(pong)).replace("127.0.0.1", "localhost");
    const result = await ask(url);
    expect(result).toMatchObject({ ok: true, timings: { dnsMs: expect.any(Number) } });
  });

  test("a TLS handshake is measured apart from the connection", async () => {
    const certificate = selfSignedCertificate();
    const before = tls.getCACertificates("default");
    tls.setDefaultCACertificates([...before, certificate.cert]);
    try {
      const result = await ask(await httpsServer(certificate, pong));
      if (!result.ok) throw new Error(result.failure.detail);
      const { tcpMs, tlsMs, firstByteMs, totalMs } = result.timings;
      expect(tlsMs).toBeGreaterThan(0);
      expect(tcpMs + (tlsMs ?? 0) + firstByteMs).toBeLessThanOrEqual(totalMs);
    } finally {
      tls.setDefaultCACertificates(before);
    }
  });

  test("every probe opens a connection of its own", async () => {
    const ports = new Set<number | undefined>();
    const url = await httpServer((request, response) => {
      ports.add(request.socket.remotePort);
      pong(request, response);
    });
    for (let count = 0; count < 5; count++) await ask(url);
    expect(ports.size).toBe(5);
  });

  test("the path follows the server's prefix, and its secret headers are sent", async () => {
    const seen: string[] = [];
    const url = await httpServer((request, response) => {
      seen.push(`${request.url} ${request.headers["x-origin-secret"]}`);
      pong(request, response);
    });
    await ask(`${url}/prefix`, { path: "/ping?deep=1", headers: { "X-Origin-Secret": "s" } });
    expect(seen).toEqual(["/prefix/ping?deep=1 s"]);
  });

  test("without an expected text any 2xx answer is good", async () => {
    const url = await httpServer((_request, response) => void response.writeHead(204).end());
    expect(await ask(url, { expect: null })).toMatchObject({ ok: true });
  });
});

describe("a probe that fails names the real cause", () => {
  test("a port where nobody listens: refused", async () => {
    expect(await failure(await deadPort())).toMatchObject({ cause: "refused", phase: "connect" });
  });

  test("a connection that is reset before the answer: reset", async () => {
    const url = await socketServer((socket) => socket.once("data", () => socket.resetAndDestroy()));
    expect(await failure(url)).toMatchObject({ cause: "reset", phase: "first_byte" });
  });

  test("an answer that is cut short: reset, while reading the body", async () => {
    const url = await socketServer((socket) => {
      socket.once("data", () => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npong"));
    });
    expect(await failure(url)).toMatchObject({ cause: "reset", phase: "body" });
  });

  test("a name that doesn't exist: dns", async () => {
    // Longer than a label may be (RFC 1035 §2.3.4): refused by the resolver itself, on whatever network the test runs.
    expect(await failure(`http://${"a".repeat(64)}.invalid`)).toMatchObject({ cause: "dns", phase: "dns" });
  });

  test("a certificate that nobody vouches for: tls", async () => {
    const url = await httpsServer(selfSignedCertificate(), pong);
    expect(await failure(url)).toMatchObject({
      cause: "tls",
      phase: "tls",
      detail: expect.stringContaining("self-signed"),
    });
  });

  test("a server that speaks plain HTTP behind https: tls", async () => {
    const url = (await httpServer(pong)).replace("http:", "https:");
    expect(await failure(url)).toMatchObject({ cause: "tls", phase: "tls" });
  });

  test("a server that never answers: timeout, while waiting for the first byte", async () => {
    const url = await httpServer(() => {});
    expect(await failure(url, { timeoutMs: 50 })).toMatchObject({ cause: "timeout", phase: "first_byte" });
  });

  test("an answer that never ends: timeout, while reading the body", async () => {
    const url = await httpServer((_request, response) => void response.writeHead(200).write("po"));
    expect(await failure(url, { timeoutMs: 50 })).toMatchObject({ cause: "timeout", phase: "body" });
  });

  test.each([301, 404, 500, 503])("HTTP %i: the status", async (status) => {
    const url = await httpServer((_request, response) => void response.writeHead(status).end("pong"));
    expect(await failure(url)).toMatchObject({ cause: "http_status", detail: String(status) });
  });

  test("200 with an error inside, as the flat dialects answer: wrong body", async () => {
    const url = await httpServer((_request, response) => void response.end('{"code":-1000,"message":"系统错误"}'));
    const { cause, detail } = await failure(url);
    expect(cause).toBe("wrong_body");
    expect(detail).toContain("-1000");
  });

  test("what is not HTTP: protocol", async () => {
    const url = await socketServer((socket) => socket.end("SSH-2.0-OpenSSH_9.6\r\n"));
    expect(await failure(url)).toMatchObject({ cause: "protocol", phase: "first_byte" });
  });
});

describe("codes that loopback can't produce", () => {
  const coded = (code: string) => Object.assign(new Error(code), { code });

  test.each([
    ["EAI_AGAIN", "dns", "dns"],
    ["EHOSTUNREACH", "connect", "unreachable"],
    ["ENETUNREACH", "connect", "unreachable"],
    ["ETIMEDOUT", "connect", "timeout"],
    ["CERT_HAS_EXPIRED", "tls", "tls"],
    ["ERR_TLS_CERT_ALTNAME_INVALID", "tls", "tls"],
    // What an interfering network does to a handshake: the phase says that it was the handshake.
    ["ECONNRESET", "tls", "reset"],
  ] as const)("%s while %s is %s", (code, phase, cause) => {
    expect(failureOf(coded(code), phase)).toMatchObject({ cause, phase });
  });

  test("a host with several addresses fails with the cause of the first", () => {
    const error = new AggregateError([coded("ECONNREFUSED"), coded("ENETUNREACH")]);
    expect(failureOf(error, "connect")).toEqual({
      cause: "refused",
      phase: "connect",
      detail: "ECONNREFUSED; ENETUNREACH",
    });
  });

  test("a timeout says how long it waited", () => {
    expect(failureOf(new ProbeTimeout(250), "body").detail).toBe("no answer within 250 ms");
  });
});
