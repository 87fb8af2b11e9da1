import { describe, expect, test } from "vitest";
import { membershipsOf, readOperatorAccess, roleOf } from "../../src/shared/operator-access.ts";
import type { AccessSettings } from "../../src/shared/operator-access.ts";

const groups = { viewer: ["readers"], operator: ["ops"] };
const access = { teamDomain: "team.cloudflareaccess.com", aud: "tag", groups };

describe("operators' secrets", () => {
  test("missing or empty ones let nobody in and are no fault", () => {
    for (const secrets of [{}, { ADMIN_TOKEN: "", ADMIN_TOKENS: "", ACCESS: "" }, { ADMIN_TOKEN: " \n" }]) {
      expect(readOperatorAccess(secrets, "cloudflare")).toEqual({ tokens: [], access: null, faults: [] });
    }
  });

  test("ADMIN_TOKEN is an operator's, without what a shell has put around it", () => {
    const { tokens } = readOperatorAccess({ ADMIN_TOKEN: "an-operators-token\n" }, "cloudflare");
    expect(tokens).toEqual([{ name: "admin", token: "an-operators-token", role: "operator" }]);
  });

  test("ADMIN_TOKENS are read from JSON text and from TOML's values", () => {
    const [one, two] = ["token-number-one-of-two", "token-number-two-of-two"];
    const given = { alice: { token: one, role: "operator" }, grafana: { token: two, role: "viewer" } };
    const expected = [
      { name: "alice", token: one, role: "operator" },
      { name: "grafana", token: two, role: "viewer" },
    ];
    for (const ADMIN_TOKENS of [given, JSON.stringify(given)])
      expect(readOperatorAccess({ ADMIN_TOKENS }, "cloudflare").tokens).toEqual(expected);
  });

  test("ACCESS names its team with a scheme or without, and one audience or several", () => {
    const read = (given: object): AccessSettings | null => readOperatorAccess({ ACCESS: given }, "cloudflare").access;
    expect(read(access)).toEqual({ issuer: "https://team.cloudflareaccess.com", audiences: ["tag"], groups });
    expect(read({ ...access, teamDomain: "https://team.cloudflareaccess.com/", aud: ["x", "y"] })).toEqual({
      issuer: "https://team.cloudflareaccess.com",
      audiences: ["x", "y"],
      groups,
    });
  });

  test.each([
    ["ADMIN_TOKEN", "two words of-secret"],
    ["ADMIN_TOKENS", "no JSON of-secret"],
    ["ADMIN_TOKENS", '["of-secret"]'],
    ["ADMIN_TOKENS", { eve: { token: "a-token-of-secret", role: "root" } }],
    ["ADMIN_TOKENS", { eve: { token: "a token of-secret", role: "viewer" } }],
    ["ADMIN_TOKENS", { eve: { role: "viewer" } }],
    ["ADMIN_TOKENS", { system: { token: "a-token-of-secret", role: "viewer" } }],
    ["ADMIN_TOKENS", { eve: { token: "a-token-of-secret", role: "viewer", more: "of-secret" } }],
    ["ACCESS", { ...access, groups: undefined }],
    ["ACCESS", { ...access, aud: [] }],
    ["ACCESS", { ...access, teamDomain: "http://team.example" }],
    ["ACCESS", "of-secret"],
  ])("a %s that can't be used lets nobody in, and its fault shows no value (%#)", (name, value) => {
    const { tokens, access: read, faults } = readOperatorAccess({ [name]: value }, "cloudflare");
    expect([tokens, read]).toEqual([[], null]);
    expect(faults[0]?.field).toMatch(new RegExp(`^${name}`));
    expect(JSON.stringify(faults)).not.toContain("of-secret");
  });

  test.each([
    [{ ADMIN_TOKEN: "of-secret" }, "ADMIN_TOKEN", 9],
    [{ ADMIN_TOKEN: "fifteen-secrets" }, "ADMIN_TOKEN", 15],
    [{ ADMIN_TOKEN: "secret".repeat(200) }, "ADMIN_TOKEN", 1200],
    [{ ADMIN_TOKENS: { eve: { token: "of-secret", role: "viewer" } } }, "ADMIN_TOKENS.eve.token", 9],
    [{ ADMIN_TOKENS: { eve: { token: "", role: "viewer" } } }, "ADMIN_TOKENS.eve.token", 0],
  ])(
    "a token that could be guessed, or is endless, lets nobody in and is told by its length alone (%#)",
    (secrets, field, length) => {
      const { tokens, faults } = readOperatorAccess(secrets, "cloudflare");
      expect(tokens).toEqual([]);
      const allowed = "16 to 1024 printable ASCII characters without blanks; make one with `openssl rand -hex 32`";
      expect(faults).toEqual([{ field, allowed, received: `*** (${length} characters)` }]);
    },
  );

  test("one that is broken leaves the others standing", () => {
    const { tokens, faults } = readOperatorAccess(
      { ADMIN_TOKEN: "a-token-that-is-right", ADMIN_TOKENS: "{" },
      "cloudflare",
    );
    expect([tokens.length, faults.length]).toEqual([1, 1]);
  });

  test("keys over plain http are for one's own machine", () => {
    const given = { ACCESS: { ...access, teamDomain: "http://127.0.0.1:9" } };
    expect(readOperatorAccess(given, "local").access?.issuer).toBe("http://127.0.0.1:9");
    expect(readOperatorAccess(given, "self-hosted").access).toBeNull();
  });
});

describe("roles by Access", () => {
  const settings = readOperatorAccess({ ACCESS: access }, "cloudflare").access as AccessSettings;

  test("the higher role wins, and who is in no group has none", () => {
    expect(roleOf(settings, ["readers", "ops"])).toBe("operator");
    expect(roleOf(settings, ["readers"])).toBe("viewer");
    expect(roleOf(settings, ["others"])).toBeNull();
    expect(roleOf({ ...settings, groups: { viewer: ["*"], operator: [] } }, [])).toBe("viewer");
  });

  test("memberships are read wherever an identity provider may put them, and nothing else is", () => {
    const claims = {
      groups: ["ops", { id: "17", name: "readers", email: "g@example.com" }, 5, null],
      custom: { groups: ["custom-group"] },
      email: "olga@example.com",
      common_name: "client.access",
      sub: "ignored",
    };
    expect(membershipsOf(claims)).toEqual([
      "ops", "17", "readers", "g@example.com", "custom-group", "olga@example.com", "client.access",
    ]); // prettier-ignore
    expect(membershipsOf({ groups: "ops" })).toEqual(["ops"]);
    expect(membershipsOf({})).toEqual([]);
  });
});
