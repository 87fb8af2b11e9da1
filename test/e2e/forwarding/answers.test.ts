/** What passes between client and backend, byte for byte, in both directions. */
import { brotliCompressSync, brotliDecompressSync, gunzipSync, gzipSync } from "node:zlib";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { readExposition } from "../../shared/metrics/exposition-lint.ts";
import { chunk, head, headerOf, lastChunk, whole, type RawBackend, type RawRequest } from "./raw-backend.ts";
import { askRaw, openRaw, requestBytes, valuesOf, type RawAnswer } from "./raw-client.ts";
import { startRawSystem, type RawSystem } from "./raw-system.ts";
import { everyLeaseEnds, serversOf } from "./observed.ts";

let raw: RawSystem;
beforeAll(async () => {
  raw = await startRawSystem({ config: { EJECTION: { maxShare: 0 }, CACHE: { bypass: ["/usage/range"] } } });
});
afterAll(() => raw.stop());
beforeEach(() => {
  backend().requests.length = 0;
});

function backend(): RawBackend {
  return raw.backends[0] as RawBackend;
}

const generation = {
  method: "POST",
  headers: { "Content-Type": "application/json", Authorization: "Bearer a-session" },
  body: '{"prompt":"a cat"}',
};

function generate(more: Readonly<Record<string, string>> = {}): Promise<RawAnswer> {
  return askRaw(raw.edge.port, "/v1/images/generations", {
    ...generation,
    headers: { ...generation.headers, ...more },
  });
}

function lastRequest(): RawRequest {
  return backend().requests.at(-1) as RawRequest;
}

function codeOf(answer: RawAnswer): unknown {
  return (JSON.parse(answer.body.toString("utf8")) as { error?: { code?: unknown } }).error?.code;
}

function answers(...pieces: readonly Buffer[]): void {
  backend().script = (_request, socket) => {
    for (const piece of pieces) socket.write(piece);
  };
}

/** Sends the pieces, then ends the connection. */
/** A reset takes with it what a slow reader has left no room to send. What is large is `seen` before, by the test's word. */
function breaksOff(pieces: readonly Buffer[], how: "reset" | "fin", seen: Promise<unknown> | null = null): void {
  backend().script = (_request, socket) => {
    socket.write(Buffer.concat(pieces), () => {
      const end = (): unknown => (how === "reset" ? socket.resetAndDestroy() : socket.end());
      // The pieces must have left before the connection goes.
      if (seen === null) setTimeout(end, 50);
      else void seen.then(end);
    });
  };
}

const json = { "Content-Type": "application/json" };
const chunked = { ...json, "Transfer-Encoding": "chunked" };

describe("the request", () => {
  beforeEach(() => answers(whole(200, "{}")));

  it.each([
    "/test/caf%C3%A9/a%2Fb/%E5%8D%B3?x=%E5%8D%B3&y=a+b%20c",
    "/test/a;b=c,d@:!$&'()*+=~-._",
    "/test/x?&&a&=b&c=%zz&d=[1]&e=?/#".slice(0, -1),
    "/test/x?a=1&a=2&redirect=https://x.example/y?z",
    "/test/x?",
  ])("keeps its target byte for byte: %s", async (target) => {
    const answer = await askRaw(raw.edge.port, target);
    expect([answer.status, backend().requests.map((request) => request.target)]).toEqual([200, [target]]);
  });

  it.each(["/test/../ping", "/test/%2e%2e/ping", "/test//ping", "/test/./x", "/test/a/..", "//test/x", "/test/a\\b"])(
    "can't leave its allow-listed path by %s",
    async (target) => {
      const answer = await askRaw(raw.edge.port, target);
      const reached = backend().requests.map((request) => request.target);
      // The runtime resolves plain dot segments before we see them; what then reaches a backend is on the list.
      expect(reached.filter((one) => one.includes("..") || one.includes("//") || one.includes("%2e"))).toEqual([]);
      if (reached.length === 0) expect([200, 404]).toContain(answer.status);
    },
  );

  it("loses what is for one connection, and what Connection names, and gains Via and who asked", async () => {
    await askRaw(raw.edge.port, "/test/x", {
      headers: {
        Connection: "keep-alive, X-Private",
        "X-Private": "1",
        "Keep-Alive": "timeout=9",
        TE: "trailers",
        "Proxy-Authorization": "Basic x",
        "X-Forwarded-For": "6.6.6.6",
        Forwarded: "for=6.6.6.6",
        "X-Own": "kept",
        "Accept-Encoding": "gzip;q=0.5, br",
      },
    });
    const names = lastRequest().headers.map(([name]) => name.toLowerCase());
    for (const name of ["x-private", "keep-alive", "te", "proxy-authorization", "forwarded"])
      expect(names).not.toContain(name);
    expect(headerOf(lastRequest(), "x-forwarded-for")).not.toContain("6.6.6.6");
    expect(headerOf(lastRequest(), "x-forwarded-host")).toBe("edge.example");
    expect(headerOf(lastRequest(), "via")).toContain("jimeng-edge");
    expect(headerOf(lastRequest(), "x-own")).toBe("kept");
    expect(headerOf(lastRequest(), "accept-encoding")).toBe("gzip;q=0.5, br");
    expect(headerOf(lastRequest(), "host")).toBe(backend().url.slice("http://".length));
  });

  it("with Expect: 100-continue is sent on without it", async () => {
    const answer = await generate({ Expect: "100-continue" });
    expect([answer.status, headerOf(lastRequest(), "expect")]).toEqual([200, null]);
  });

  it("keeps the length of a body that is passed on as it comes", async () => {
    const body = Buffer.alloc(2_000_000, "x");
    const headers = { "Content-Type": "multipart/form-data; boundary=b", Authorization: "Bearer a" };
    const answer = await askRaw(raw.edge.port, "/v1/images/compositions", { method: "POST", headers, body });
    expect([answer.status, headerOf(lastRequest(), "content-length")]).toEqual([200, "2000000"]);
    expect(lastRequest().body.equals(body)).toBe(true);
  });

  it("without a declared length arrives whole, small or large", async () => {
    for (const size of [10, 1_500_000]) {
      const text = JSON.stringify({ prompt: "x".repeat(size) });
      const head = requestBytes("/v1/images/generations", {
        method: "POST",
        headers: { ...generation.headers, "Transfer-Encoding": "chunked" },
      });
      const socket = await openRaw(raw.edge.port, Buffer.concat([head, chunk(text), lastChunk]));
      await new Promise((resolve) => socket.once("data", resolve));
      socket.destroy();
      expect(lastRequest().body.toString("utf8")).toBe(text);
    }
  });

  it.each([
    ["GET", "/test/x"],
    ["HEAD", "/test/x"],
    ["GET", "/ping"],
    ["GET", "/usage/stats"],
    ["GET", "/v1/async/tasks/some-task/status"],
  ])("of a method that has no use for a body goes on without it, and nobody is blamed: %s %s", async (method, path) => {
    answers(whole(200, '{"success":true,"data":{}}'));
    const body = "x".repeat(100_000);
    const answer = await askRaw(raw.edge.port, path, { method, headers: json, body });
    expect(answer.status).toBe(200);
    if (path !== "/ping") {
      expect(lastRequest().target).toBe(path);
      expect([lastRequest().method, lastRequest().body.length]).toEqual([method, 0]);
    }
    expect((await serversOf(raw.edge)).map(({ state }) => state)).toEqual(["healthy"]);
  });

  it("with malformed JSON is passed on as it is, for the server to judge", async () => {
    await askRaw(raw.edge.port, "/v1/images/generations", { ...generation, body: '{"prompt": "x' });
    expect(lastRequest().body.toString("utf8")).toBe('{"prompt": "x');
  });
});

describe("the answer", () => {
  it("loses what is for one connection and keeps each Set-Cookie apart", async () => {
    const cookies = ["a=1; Expires=Wed, 21 Oct 2065 07:28:00 GMT", "b=2; Path=/"];
    backend().script = (_request, socket) => {
      const lines = cookies.map((cookie) => `Set-Cookie: ${cookie}\r\n`).join("");
      const own = "Connection: keep-alive, X-Gone\r\nX-Gone: 1\r\nKeep-Alive: timeout=5\r\nX-Kept: 1\r\n";
      socket.write(`HTTP/1.1 200 OK\r\n${own}${lines}Content-Type: text/plain\r\nContent-Length: 2\r\n\r\nok`);
    };
    const answer = await askRaw(raw.edge.port, "/test/x");
    expect(valuesOf(answer, "set-cookie")).toEqual(cookies);
    expect([valuesOf(answer, "x-gone"), valuesOf(answer, "keep-alive"), valuesOf(answer, "x-kept")]).toEqual([
      [],
      [],
      ["1"],
    ]);
    expect(valuesOf(answer, "via").join()).toContain("jimeng-edge");
  });

  it.each([101, 102, 103, 199, 600, 999])(
    "with status %i alone can't be passed on: 502, not to be sent again",
    async (status) => {
      answers(head(status, { "Content-Length": "2" }), Buffer.from("{}"));
      const answer = await generate();
      expect([answer.status, valuesOf(answer, "x-should-retry")]).toEqual([502, ["false"]]);
      expect(backend().requests).toHaveLength(1);
    },
  );

  it("that comes after a 103 is the answer", async () => {
    answers(head(103, { Link: "</x>; rel=preload" }), whole(200, '{"created":1}'));
    const answer = await generate();
    expect([answer.status, answer.body.toString("utf8")]).toEqual([200, '{"created":1}']);
  });

  it.each([204, 304])("with status %i has no body and the connection lives on", async (status) => {
    answers(head(status, { ETag: '"v"' }));
    const answer = await askRaw(raw.edge.port, "/test/x", { headers: { "If-None-Match": '"v"' } });
    expect([answer.status, answer.body.length, answer.ended]).toEqual([status, 0, "open"]);
  });

  it("to a HEAD has the length and no body", async () => {
    answers(head(200, { "Content-Type": "text/plain", "Content-Length": "1234" }));
    const answer = await askRaw(raw.edge.port, "/test/x", { method: "HEAD" });
    expect([answer.status, answer.body.length, lastRequest().method]).toEqual([200, 0, "HEAD"]);
  });

  it("that is an error's status alone is explained in JSON, where an SDK asks", async () => {
    answers(whole(431, "", { Connection: "keep-alive", "X-Kept": "1" }));
    const answer = await generate();
    expect([answer.status, codeOf(answer), valuesOf(answer, "x-kept")]).toEqual([431, "http_431", ["1"]]);
    const elsewhere = await askRaw(raw.edge.port, "/test/x");
    expect([elsewhere.status, elsewhere.body.length]).toEqual([431, 0]);
  });

  it("that is a part, as a client asked, is passed on and not taken for a torn one", async () => {
    answers(whole(206, '{"a":', { ...json, "Content-Range": "bytes 0-4/9" }));
    for (const path of ["/test/x", "/v1/async/tasks/some-task/status"]) {
      const answer = await askRaw(raw.edge.port, path, { headers: { Range: "bytes=0-4" } });
      expect([path, answer.status, answer.body.toString()]).toEqual([path, 206, '{"a":']);
    }
    // Asked once each: a failure would have been tried again.
    expect(backend().requests).toHaveLength(2);
  });

  it("that is merged is asked for as a whole, whatever part a client wants", async () => {
    answers(whole(200, '{"success":true,"data":{"daily_stats":[]}}'));
    const headers = {
      Range: "bytes=0-4",
      "If-None-Match": '"x"',
      "If-Modified-Since": "Wed, 21 Oct 2015 07:28:00 GMT",
    };
    const answer = await askRaw(raw.edge.port, "/usage/range", { headers });
    expect([answer.status, lastRequest().target]).toEqual([200, "/usage/range"]);
    const sent = Object.keys(headers).map((name) => headerOf(lastRequest(), name.toLowerCase()));
    expect(sent).toEqual([null, null, null]);
  });

  it("with a media type in capitals is looked at all the same", async () => {
    answers(whole(200, '{"code":-2002,"message":"[登录失效]","data":null}', { "Content-Type": "Application/JSON" }));
    expect((await generate()).status).toBe(401);
  });

  it.each([301, 302, 303, 307, 308])("that redirects (%i) is passed on, not followed", async (status) => {
    answers(whole(status, "", { Location: "/elsewhere?x=1" }));
    const answer = await askRaw(raw.edge.port, "/test/x");
    expect([answer.status, valuesOf(answer, "location")]).toEqual([status, ["/elsewhere?x=1"]]);
    expect(backend().requests).toHaveLength(1);
  });
});

it("a chat whose request was too large to look at is known for a stream by its answer", async () => {
  const events = { "Content-Type": "text/event-stream", "Transfer-Encoding": "chunked" };
  answers(head(200, events), chunk("data: 1\n\n"), chunk("data: [DONE]\n\n"), lastChunk);
  const chat = { model: "x", stream: true, messages: [], filling: "x".repeat(2_000_000) };
  const before = await attemptsOf("generate");
  const answer = await raw.edge.post("/v1/chat/completions", chat);
  expect([answer.headers.get("content-type"), await answer.text()]).toEqual([
    "text/event-stream",
    "data: 1\n\ndata: [DONE]\n\n",
  ]);
  await everyLeaseEnds(raw.edge);
  expect([await attemptsOf("generate"), await attemptsOf("stream")]).toEqual([before, 1]);
});

async function attemptsOf(routeClass: string): Promise<number> {
  const families = readExposition(await (await raw.edge.operate("/metrics")).text());
  const attempts = families.find(({ name }) => name === "jimeng_edge_backend_attempts_total")?.samples ?? [];
  const wanted = attempts.filter(({ labels }) => labels.get("class") === routeClass);
  return wanted.reduce((sum, { value }) => sum + value, 0);
}

describe("an encoding", () => {
  const text = JSON.stringify({ created: 1, data: "y".repeat(5000) });
  const packed = gzipSync(text);

  it("of what need not be looked at passes as it came, its length with it", async () => {
    answers(whole(200, packed, { "Content-Type": "image/svg+xml", "Content-Encoding": "gzip" }));
    const answer = await askRaw(raw.edge.port, "/test/x", { headers: { "Accept-Encoding": "gzip" } });
    expect([valuesOf(answer, "content-encoding"), answer.body.equals(packed)]).toEqual([["gzip"], true]);
    expect(valuesOf(answer, "content-length")).toEqual([String(packed.length)]);
  });

  it.each([
    ["zstd", Buffer.from("not really zstd")],
    ["GZIP", packed],
    ["gzip, br", brotliCompressSync(packed)],
  ])("that the runtime can't take off passes as it came: %s", async (encoding, bytes) => {
    answers(whole(200, bytes, { ...json, "Content-Encoding": encoding }));
    const answer = await askRaw(raw.edge.port, "/test/x", { headers: { "Accept-Encoding": encoding } });
    expect([valuesOf(answer, "content-encoding"), answer.body.equals(bytes)]).toEqual([[encoding], true]);
  });

  it("of JSON is taken off to see whether it is an error, and the client gets one that it takes", async () => {
    answers(whole(200, packed, { ...json, "Content-Encoding": "gzip" }));
    const plain = await askRaw(raw.edge.port, "/test/x");
    expect([valuesOf(plain, "content-encoding"), plain.body.toString("utf8")]).toEqual([[], text]);
    const encoded = await fetch(`${raw.edge.url}/test/x`, { headers: { "Accept-Encoding": "br" } });
    expect([encoded.headers.get("content-encoding"), await encoded.text()]).toEqual(["br", text]);
    answers(
      whole(200, gzipSync('{"code":-2002,"message":"[登录失效]","data":null}'), {
        ...json,
        "Content-Encoding": "gzip",
      }),
    );
    expect((await generate()).status).toBe(401);
  });

  it.each([
    ["br, gzip", "br"],
    ["gzip", "gzip"],
    ["gzip;q=1, br;q=0.2", "gzip"],
    ["br;q=0, gzip;q=0.1", "gzip"],
    ["*", "br"],
    ["identity", null],
    ["gzip;q=0", null],
    ["deflate, zstd", null],
  ])("is chosen by Accept-Encoding: %s → %s", async (accept, expected) => {
    answers(whole(200, text));
    const answer = await askRaw(raw.edge.port, "/test/x", { headers: { "Accept-Encoding": accept } });
    expect(valuesOf(answer, "content-encoding")).toEqual(expected === null ? [] : [expected]);
    expect(valuesOf(answer, "vary").join()).toContain("Accept-Encoding");
    if (expected === null) expect(answer.body.toString("utf8")).toBe(text);
    else expect(decoded(expected, unchunked(answer.body))).toBe(text);
  });

  it.each([
    ["text/plain", 16_000],
    ["text/plain", 20_000],
    ["text/plain", 1_000_000],
    ["application/json", 60_000],
    ["application/json", 70_000],
    ["application/json", 1_000_000],
  ])("is chosen for what goes out piece by piece, too, and all of it arrives: %s of %i bytes", async (type, size) => {
    const long = `"${"y".repeat(size)}"`;
    answers(whole(200, long, { "Content-Type": type }));
    const plain = await askRaw(raw.edge.port, "/test/x");
    expect([valuesOf(plain, "content-length"), plain.body.toString("utf8") === long]).toEqual([[`${size + 2}`], true]);
    const answer = await askRaw(raw.edge.port, "/test/x", { headers: { "Accept-Encoding": "br" } });
    expect([valuesOf(answer, "content-encoding"), valuesOf(answer, "content-length")]).toEqual([["br"], []]);
    expect(decoded("br", unchunked(answer.body)) === long).toBe(true);
  });

  it.each([
    ["a small one", whole(200, '{"a":1}')],
    ["a picture", whole(200, Buffer.alloc(5000), { "Content-Type": "image/webp" })],
    ["no-transform", whole(200, text, { ...json, "Cache-Control": "no-transform" })],
  ])("is not chosen for %s", async (_what, bytes) => {
    answers(bytes);
    const answer = await askRaw(raw.edge.port, "/test/x", { headers: { "Accept-Encoding": "br, gzip" } });
    expect(valuesOf(answer, "content-encoding")).toEqual([]);
  });
});

function unchunked(bytes: Buffer): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; ;) {
    const end = bytes.indexOf("\r\n", at);
    const size = Number.parseInt(bytes.subarray(at, end).toString("latin1"), 16);
    if (!(size > 0)) return Buffer.concat(parts);
    parts.push(bytes.subarray(end + 2, end + 2 + size));
    at = end + 4 + size;
  }
}

function decoded(encoding: string, bytes: Buffer): string {
  return (encoding === "br" ? brotliDecompressSync(bytes) : gunzipSync(bytes)).toString("utf8");
}

describe("an answer that is cut short", () => {
  const small = `{"created":1,"data":["${"x".repeat(10_000)}"]}`;
  const large = Buffer.alloc(3_000_000, "x");
  const half = Buffer.from(small.slice(0, 5000));

  it.each([
    ["by a reset, with a length", [head(200, { ...json, "Content-Length": String(small.length) }), half], "reset"],
    ["by a close, with a length", [head(200, { ...json, "Content-Length": String(small.length) }), half], "fin"],
    ["by a reset, chunked", [head(200, chunked), chunk(half)], "reset"],
    ["by a close, chunked", [head(200, chunked), chunk(half)], "fin"],
    ["by a close that is its only end", [head(200, { ...json, Connection: "close" }), half], "fin"],
  ] as const)("%s: up to 1 MiB a 502 that says so, and one submit", async (_how, pieces, end) => {
    breaksOff(pieces, end);
    const answer = await generate();
    expect([answer.status, codeOf(answer), valuesOf(answer, "x-should-retry")]).toEqual([
      502,
      "backend_answer_cut",
      ["false"],
    ]);
    expect(backend().requests).toHaveLength(1);
    await everyLeaseEnds(raw.edge);
  });

  it.each([
    ["by a reset, with a length", [head(200, { ...json, "Content-Length": "9000000" }), large], "reset"],
    ["by a close, with a length", [head(200, { ...json, "Content-Length": "9000000" }), large], "fin"],
    ["by a reset, chunked", [head(200, chunked), chunk(large)], "reset"],
    ["by a close, chunked", [head(200, chunked), chunk(large)], "fin"],
  ] as const)("%s: beyond 1 MiB a transport error, whatever encodings the client takes", async (_how, pieces, end) => {
    for (const accept of ["identity", "gzip, br"]) {
      // The answer begins when the edge has read more than it keeps of one.
      const begun = Promise.withResolvers<void>();
      breaksOff(pieces, end, begun.promise);
      const answer = await fetch(`${raw.edge.url}/v1/images/generations`, {
        method: "POST",
        headers: { "Content-Type": "application/json", Authorization: "Bearer a", "Accept-Encoding": accept },
        body: generation.body,
      });
      begun.resolve();
      expect(answer.status).toBe(200);
      await expect(answer.arrayBuffer()).rejects.toThrow();
    }
    expect(backend().requests).toHaveLength(2);
    await everyLeaseEnds(raw.edge);
  });

  it("beyond 1 MiB keeps its Content-Length", async () => {
    answers(whole(200, large));
    const answer = await generate({ "Accept-Encoding": "gzip, br" });
    expect([valuesOf(answer, "content-length"), answer.body.length]).toEqual([["3000000"], 3_000_000]);
  });

  it("of a cheap request is fetched again", async () => {
    backend().script = (_request, socket) => {
      if (backend().requests.length > 1) return void socket.write(whole(200, small));
      socket.write(Buffer.concat([head(200, { ...json, "Content-Length": String(small.length) }), half]), () =>
        setTimeout(() => socket.resetAndDestroy(), 50),
      );
    };
    const answer = await askRaw(raw.edge.port, "/test/x");
    expect([answer.status, answer.body.toString("utf8")]).toEqual([200, small]);
    expect((await serversOf(raw.edge)).map(({ name }) => name)).toEqual(["raw-0"]);
  });
});
