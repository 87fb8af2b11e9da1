/** What a client may write as a target, to the byte: no spelling reaches another target's answer. */
import { connect } from "node:net";
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { CacheSystem } from "./cache-system.ts";

const system = new CacheSystem(4);

/** The whole answer to a request line, as it came. */
function raw(target: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(system.edge.url.port), system.edge.url.hostname);
    let text = "";
    socket.setEncoding("utf8");
    socket.on("data", (part: string) => (text += part));
    socket.on("end", () => resolve(text));
    socket.on("error", reject);
    socket.write(`GET ${target} HTTP/1.1\r\nHost: system.edge.example\r\nConnection: close\r\n\r\n`);
  });
}

const minute = { "cache-control": "max-age=60" };

test("an absolute target is asked for by its path alone: neither its userinfo nor its host reaches an origin or its answer", async () => {
  system.origin.expect("/absolute", Date.now(), { headers: minute, body: "one" });
  expect(await raw("http://user:secret@other.example/absolute/x")).toMatch(/one$/);
  const asked = system.origin.asked("/absolute");
  expect(asked.map(({ target }) => target)).toEqual(["/absolute/x"]);
  for (const part of ["secret", "user", "other.example"]) expect(JSON.stringify(asked)).not.toContain(part);
});

test("the same resource in absolute and in origin form is one", async () => {
  system.origin.expect("/form", Date.now(), { headers: minute, body: "one" });
  await raw("/form/x");
  expect(await raw("http://edge.example/form/x")).toMatch(/cache-status: jimeng-edge; hit/i);
});

test("a fragment is no part of a target", async () => {
  system.origin.expect("/fragment", Date.now(), { headers: minute, body: "one" });
  await raw("/fragment/x#a");
  expect(await raw("/fragment/x#b")).toMatch(/cache-status: jimeng-edge; hit/i);
  expect(system.origin.asked("/fragment").map(({ target }) => target)).toEqual(["/fragment/x"]);
});

test("what is behind a question mark is a part of it, a second question mark too", async () => {
  for (const [query, body] of [
    ["?a", "1"],
    ["?a?b", "2"],
    ["?a%3Fb", "3"],
    ["?a=1;b=2", "4"],
    ["?a=1&b=2", "5"],
  ] as const) {
    system.origin.expect("/query", Date.now(), { headers: minute, body });
    expect(await raw(`/query/x${query}`)).toMatch(new RegExp(`${body}$`));
  }
});

test("a path that leaves its folder is the path it leads to", async () => {
  system.origin.expect("/inside", Date.now(), { headers: minute, body: "inside" });
  system.origin.expect("/outside", Date.now(), { headers: minute, body: "outside" });
  await raw("/inside/x");
  expect(await raw("/inside/%2e%2e/outside/x")).toMatch(/outside$/);
  expect(await raw("/inside/x")).toMatch(/inside$/);
});

test("a compressed answer is stored as what it means, under a weak tag, and confirmed under the origin's own", async () => {
  const startMs = Date.now();
  const told = (seconds: number) => ({ "x-test-store": "memory", "x-test-now": String(startMs + seconds * 1000) });
  const headers = { ...minute, etag: '"v1"', "content-encoding": "gzip", vary: "accept-encoding" };
  system.origin.expect("/gzip", startMs, { headers, body: gzipSync("plain text") });
  for (const seconds of [0, 1]) {
    const answer = await system.client.ask("/gzip/x", { headers: told(seconds) });
    expect(answer.body).toBe("plain text");
    expect(answer.headers).toMatchObject({ etag: 'W/"v1"' });
    expect(answer.headers["content-encoding"]).toBeUndefined();
  }
  expect(system.origin.asked("/gzip").length).toBe(1);
  system.origin.expect("/gzip", startMs, { status: 304, headers: { ...minute, etag: '"v1"' } });
  const confirmed = await system.client.ask("/gzip/x", { headers: told(70) });
  expect(confirmed).toMatchObject({ status: 200, body: "plain text" });
  expect(system.origin.asked("/gzip").at(-1)?.headers["if-none-match"]).toBe('"v1"');
  // The client's tag is still the weak one: what it has is not, byte for byte, what the origin means.
  expect(confirmed.headers).toMatchObject({ etag: 'W/"v1"' });
});
