import { describe, expect, it } from "vitest";
import { requestHeaders, responseHeaders } from "../../src/worker/headers.ts";

const forwarded = { clientAddress: "203.0.113.9", host: "api.example.com", protocol: "https" };

describe("request headers", () => {
  it("drop every hop-by-hop field and every field that Connection names", () => {
    const headers = requestHeaders(
      new Headers({
        connection: "keep-alive, X-Private",
        "x-private": "1",
        "keep-alive": "timeout=5",
        te: "trailers",
        trailer: "x",
        "transfer-encoding": "chunked",
        upgrade: "h2c",
        "proxy-authorization": "Basic x",
        expect: "100-continue",
        accept: "application/json",
      }),
      forwarded,
      {},
    );
    const names = [...headers.keys()];
    expect(names).toEqual(["accept", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"]);
  });

  it("say who asked by the edge's own knowledge, never by the client's word", () => {
    const spoofed = new Headers({
      "x-forwarded-for": "1.1.1.1",
      "x-real-ip": "1.1.1.1",
      forwarded: "for=1.1.1.1",
      "cf-connecting-ip": "1.1.1.1",
    });
    const headers = requestHeaders(spoofed, forwarded, {});
    expect(headers.get("x-forwarded-for")).toBe("203.0.113.9");
    expect(headers.get("x-forwarded-host")).toBe("api.example.com");
    for (const name of ["x-real-ip", "forwarded", "cf-connecting-ip"]) expect(headers.has(name)).toBe(false);
  });

  it("say nothing of one client where the answer will serve several", () => {
    const headers = requestHeaders(new Headers({ "x-forwarded-for": "1.1.1.1" }), null, {});
    expect([...headers.keys()]).toEqual(["via"]);
  });

  it("carry a backend's secret headers over the client's of the same name", () => {
    const headers = requestHeaders(new Headers({ "x-origin-secret": "guess" }), forwarded, {
      "X-Origin-Secret": "right",
    });
    expect(headers.get("x-origin-secret")).toBe("right");
  });

  it("append to Via and keep what stood there", () => {
    const headers = requestHeaders(new Headers({ via: "1.0 fred" }), forwarded, {});
    expect(headers.get("via")).toBe("1.0 fred, 1.1 jimeng-edge");
  });

  it("survive a Connection that names what is no field name", () => {
    const headers = requestHeaders(new Headers({ connection: "close, ,(x), a b" }), forwarded, {});
    expect(headers.has("connection")).toBe(false);
  });
});

describe("response headers", () => {
  it("keep each Set-Cookie apart", () => {
    const backend = new Headers();
    backend.append("set-cookie", "a=1");
    backend.append("set-cookie", "b=2");
    expect(responseHeaders(backend).getSetCookie()).toEqual(["a=1", "b=2"]);
  });

  it("drop a backend's CORS and whatever is the edge's to say", () => {
    const headers = responseHeaders(
      new Headers({
        "access-control-allow-origin": "*",
        "x-jimeng-edge-backend": "forged",
        ratelimit: "forged",
        "keep-alive": "timeout=5",
        "content-type": "application/json",
      }),
    );
    expect([...headers.keys()]).toEqual(["content-type", "via"]);
  });
});
