import { describe, expect, it } from "vitest";
import { addCors, addVary, isPreflight, preflightResponse } from "../../src/worker/cors.ts";

const anyone = { origins: ["*"], credentials: false, maxAge: 7200 };
const listed = { origins: ["https://app.example.com"], credentials: true, maxAge: 600 };

function preflight(origin: string): Request {
  return new Request("https://edge.example/v1/images/generations", {
    method: "OPTIONS",
    headers: {
      origin,
      "access-control-request-method": "POST",
      "access-control-request-headers": "authorization, x-custom",
    },
  });
}

describe("cross-origin answers", () => {
  it("allow everybody by default, and always vary by Origin", () => {
    const headers = new Headers();
    addCors(headers, null, anyone);
    expect(headers.get("access-control-allow-origin")).toBe("*");
    expect(headers.get("vary")).toBe("Origin");
    expect(headers.get("access-control-expose-headers")).toContain("x-request-id");
  });

  it("allow a listed origin by name, with credentials, and no other", () => {
    const good = new Headers();
    addCors(good, "https://app.example.com", listed);
    expect(good.get("access-control-allow-origin")).toBe("https://app.example.com");
    expect(good.get("access-control-allow-credentials")).toBe("true");
    const bad = new Headers();
    addCors(bad, "https://evil.example", listed);
    expect(bad.has("access-control-allow-origin")).toBe(false);
    expect(bad.get("vary")).toBe("Origin");
  });

  it("never say * together with credentials", () => {
    const headers = new Headers();
    addCors(headers, "https://any.example", { ...anyone, credentials: true });
    expect(headers.get("access-control-allow-origin")).toBe("https://any.example");
  });

  it("name each Vary member once, in any spelling, and leave * alone", () => {
    const headers = new Headers({ vary: "accept-encoding, ORIGIN" });
    addVary(headers, "Origin");
    expect(headers.get("vary")).toBe("accept-encoding, ORIGIN");
    const star = new Headers({ vary: "*" });
    addVary(star, "Origin");
    expect(star.get("vary")).toBe("*");
  });
});

describe("a preflight", () => {
  it("is an OPTIONS with an origin and a method asked for, and nothing else is", () => {
    expect(isPreflight(preflight("https://a.example"))).toBe(true);
    expect(isPreflight(new Request("https://edge.example/", { method: "OPTIONS" }))).toBe(false);
  });

  it("allows the path's methods and the headers that were asked for, for as long as configured", () => {
    const response = preflightResponse(preflight("https://app.example.com"), listed, ["GET", "PUT"]);
    expect(response.status).toBe(204);
    expect(response.headers.get("access-control-allow-headers")).toBe("authorization, x-custom");
    expect(response.headers.get("access-control-max-age")).toBe("600");
    expect(response.headers.get("access-control-allow-methods")).toBe("GET, PUT");
    expect(response.headers.get("vary")).toContain("Origin");
  });

  it("of a foreign origin allows nothing", () => {
    const { headers } = preflightResponse(preflight("https://evil.example"), listed, ["GET"]);
    expect([...headers.keys()]).toEqual(["vary"]);
  });
});
