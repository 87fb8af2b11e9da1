import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { main } from "../../tools/ip-tester/main.ts";
import { closeAll, deadPort, httpServer, late, pong, socketServer } from "./loopback.ts";

const adminToken = "an-operators-token";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "ip-tester-"));
});
afterAll(async () => {
  await closeAll();
  await rm(folder, { recursive: true });
});

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** The command as a person runs it, except that the process is this one. */
async function run(argv: readonly string[], environment: Record<string, string> = {}, variables = ""): Promise<Ran> {
  const variablesFile = join(folder, `${crypto.randomUUID()}.vars`);
  if (variables !== "") await writeFile(variablesFile, variables);
  let out = "";
  let err = "";
  const code = await main(argv, {
    environment,
    variablesFile,
    out: (text) => (out += `${text}\n`),
    err: (text) => (err += `${text}\n`),
    terminal: null,
    signal: new AbortController().signal,
  });
  return { code, out, err };
}

/** Six to ten probes of each of a handful of servers. */
const short = ["--duration", "0.3", "--interval", "8", "--timeout", "1"];

interface Reported {
  readonly name: string;
  readonly url: string;
  readonly rank: number;
  readonly suggestedWeight: number;
  readonly requests: number;
  readonly status: string;
  readonly errors: { readonly cause: string; readonly detail: string; readonly count: number }[];
  readonly edge: { readonly state: string; readonly weight: number } | null;
}

function reported({ out }: Ran): Reported[] {
  return JSON.parse(out).servers;
}

describe("a mixed fleet", () => {
  test("is ranked rightly, each failure with its cause, and the exit code is 1", async () => {
    const servers = {
      healthy: await httpServer(pong),
      slow: await httpServer(late(60)),
      dead: await deadPort(),
      resetting: await socketServer((socket) => socket.once("data", () => socket.resetAndDestroy())),
      wrong: await httpServer((_request, response) => void response.end("<html>welcome</html>")),
      broken: await httpServer((_request, response) => void response.writeHead(500).end("pong")),
      encrypted: (await httpServer(pong)).replace("http:", "https:"),
      silent: await httpServer(() => {}),
    };
    const given = Object.entries(servers).map(([name, url]) => `${name}=${url}`);
    const ran = await run([
      ...given,
      "--json",
      "--concurrency",
      "24",
      "--duration",
      "0.6",
      "--interval",
      "5",
      "--timeout",
      "0.2",
    ]);
    expect(ran.code).toBe(1);
    const found = reported(ran);
    expect(found.slice(0, 2).map(({ name }) => name)).toEqual(["healthy", "slow"]);
    expect(found[0]).toMatchObject({ rank: 1, suggestedWeight: 10, status: "good" });
    expect(found[1]?.suggestedWeight).toBeLessThanOrEqual(5);
    const causes = Object.fromEntries(
      found.slice(2).map(({ name, errors }) => [name, errors.map(({ cause }) => cause)]),
    );
    expect(causes).toEqual({
      dead: ["refused"],
      resetting: ["reset"],
      wrong: ["wrong_body"],
      broken: ["http_status"],
      encrypted: ["tls"],
      silent: ["timeout"],
    });
    expect(
      found.slice(2).every(({ status, suggestedWeight }) => status === "unavailable" && suggestedWeight === 0),
    ).toBe(true);
  });

  test("healthy servers alone exit with 0, with an even share of the requests", async () => {
    const ran = await run([await httpServer(pong), await httpServer(pong), "--json", ...short]);
    expect(ran.code).toBe(0);
    const [first, second] = reported(ran);
    expect(Math.abs((first?.requests ?? 0) - (second?.requests ?? 99))).toBeLessThanOrEqual(1);
  });

  test("when nothing answers the exit code is 2", async () => {
    const ran = await run([await deadPort(), "--json", ...short]);
    expect(ran.code).toBe(2);
    expect(ran.err).toContain("no server answered");
  });

  test("people get tables, in Chinese with --zh", async () => {
    const given = [`good=${await httpServer(pong)}`, `gone=${await deadPort()}`, ...short];
    const english = await run(given);
    for (const word of ["Availability", "P99", "First byte", "connection refused", "Suggested weight", "100.0 %"]) {
      expect(english.out).toContain(word);
    }
    const chinese = await run([...given, "--zh"]);
    for (const word of ["可用率", "首字节", "连接被拒绝", "建议权重", "推荐顺序", "不可用"])
      expect(chinese.out).toContain(word);
  });

  test("a server's words can't steer the terminal", async () => {
    const url = await httpServer((_request, response) => void response.end("\u001b[2Jgone\u009b31m"));
    const { out } = await run([url, ...short]);
    expect(out).toContain("gone");
    expect(out).not.toMatch(/[^\P{Cc}\n]/u);
  });
});

describe("where the servers come from", () => {
  test("without arguments from BACKEND_SERVERS in the environment, with health path and secret headers", async () => {
    const asked: string[] = [];
    const url = await httpServer((request, response) => {
      asked.push(`${request.url} ${request.headers["x-secret"]}`);
      pong(request, response);
    });
    const BACKEND_SERVERS = JSON.stringify([
      { url, name: "mine", healthPath: "/alive", headers: { "X-Secret": "hush" } },
    ]);
    const ran = await run(["--json", ...short], { BACKEND_SERVERS });
    expect(ran.code).toBe(0);
    expect(new Set(asked)).toEqual(new Set(["/alive hush"]));
    expect(ran.out + ran.err).not.toContain("hush");
  });

  test("else from .dev.vars, which the environment overrules", async () => {
    const [fromFile, fromEnvironment] = [await httpServer(pong), await httpServer(pong)];
    const variables = `BACKEND_SERVERS='[{"url":"${fromFile}","name":"file"}]'\n`;
    expect(reported(await run(["--json", ...short], {}, variables)).map(({ name }) => name)).toEqual(["file"]);
    const BACKEND_SERVERS = JSON.stringify([{ url: fromEnvironment, name: "environment" }]);
    const both = await run(["--json", ...short], { BACKEND_SERVERS }, variables);
    expect(reported(both).map(({ name }) => name)).toEqual(["environment"]);
  });

  test("from a file, as JSON or one a line", async () => {
    const url = await httpServer(pong);
    const [json, lines] = [join(folder, "servers.json"), join(folder, "servers.txt")];
    await writeFile(json, JSON.stringify([{ url, name: "one" }]));
    await writeFile(lines, `# my servers\n\ntwo=${url}   # the new one\n`);
    expect(reported(await run(["--file", json, "--json", ...short]))[0]?.name).toBe("one");
    expect(reported(await run(["--file", lines, "--json", ...short]))[0]?.name).toBe("two");
  });

  test("--path and --expect ask for something else", async () => {
    const url = await httpServer(
      (request, response) => void response.end(request.url === "/v1/models" ? '{"data":[]}' : "no"),
    );
    expect((await run([url, "--path", "/v1/models", ...short])).code).toBe(0);
    expect((await run([url, "--path", "/v1/models", "--expect", "jimeng", ...short])).code).toBe(2);
    expect((await run([url, "--expect=", ...short])).code).toBe(0);
  });
});

/** The operators' API of an edge as far as the tester uses it, over a real socket, with its own record of what it was told. */
async function edgeServer(
  servers: readonly {
    name: string;
    url: string;
    weight: number;
    healthPath?: string;
    headerNames?: readonly string[];
  }[],
  refuse: string | null = null,
  configuredPath = "/ping",
) {
  const told: string[] = [];
  const latency = { requests: 12, successRate: 0.5, avgMs: 40, p50Ms: 35, p95Ms: 90, p99Ms: 95 };
  const rest = {
    region: "default",
    priority: 1,
    healthy: true,
    state: "healthy",
    operatorState: "active",
    inFlight: 0,
  };
  const url = await httpServer((request, response) => {
    const send = (status: number, body: unknown) => void response.writeHead(status).end(JSON.stringify(body));
    if (request.headers.authorization !== `Bearer ${adminToken}`) return send(401, { message: "operator token wrong" });
    if (request.method === "GET" && request.url?.startsWith("/api/ip-preference")) {
      const region = new URL(request.url, "http://edge").searchParams.get("region");
      const full = servers.map((server) => ({
        ...server,
        ...rest,
        lastMinute: latency,
        lastHour: latency,
        lastDay: latency,
      }));
      return send(200, { region, regions: ["HKG"], servers: full });
    }
    if (request.method === "GET" && request.url === "/api/backends") {
      const backends = servers.map((server) => ({ healthPath: null, headerNames: [], ...server }));
      return send(200, { backends });
    }
    if (request.method === "GET" && request.url === "/api/config")
      return send(200, { values: { HEALTH_CHECK: { path: configuredPath } } });
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      told.push(`${request.method} ${request.url} ${Buffer.concat(chunks)}`);
      const refused = refuse !== null && request.url?.endsWith(refuse);
      send(refused ? 409 : 200, refused ? { message: "not now" } : {});
    });
  });
  return { url, told };
}

describe("the running edge", () => {
  test("names the servers, and what it measured stands beside what is measured here", async () => {
    const servers = [{ name: "first", url: await httpServer(pong), weight: 3 }];
    const edge = await edgeServer(servers);
    const options = ["--edge", edge.url, "--token", adminToken, ...short];
    const json = await run([...options, "--json"]);
    expect(json.code).toBe(0);
    expect(reported(json)[0]).toMatchObject({ name: "first", edge: { state: "healthy", weight: 3 } });
    const text = await run([...options, "--region", "HKG"]);
    expect(text.out).toMatch(/last hour \(HKG\)[\s\S]*first\s*│ healthy\s*│\s*3 │\s*12 │\s*50\.0 % │\s*40\.0/);
    expect(edge.told).toEqual([]);
  });

  test("--apply sends exactly the suggested weights that differ, by the edge's names", async () => {
    const [quick, slow, dead] = [await httpServer(pong), await httpServer(late(50)), await deadPort()];
    const edge = await edgeServer([
      { name: "quick", url: quick, weight: 10 },
      { name: "slow", url: slow, weight: 9 },
      { name: "dead", url: dead, weight: 3 },
    ]);
    const ran = await run(["--edge", edge.url, "--apply", "--json", ...short], { ADMIN_TOKEN: adminToken });
    expect(ran.code).toBe(1);
    const suggested = Object.fromEntries(reported(ran).map(({ name, suggestedWeight }) => [name, suggestedWeight]));
    expect(suggested).toMatchObject({ quick: 10, dead: 0 });
    expect(edge.told.sort()).toEqual([
      'PATCH /api/backends/dead {"weight":0}',
      `PATCH /api/backends/slow {"weight":${suggested["slow"]}}`,
    ]);
  });

  test("asks each server as the edge does: by its own health path, else by the configured one", async () => {
    const only = (path: string) =>
      httpServer((request, response) => void response.writeHead(request.url === path ? 200 : 404).end("fine"));
    const servers = [
      { name: "own", url: await only("/alive"), weight: 5, healthPath: "/alive" },
      { name: "usual", url: await only("/status"), weight: 5 },
    ];
    const edge = await edgeServer(servers, null, "/status");
    const ran = await run(["--edge", edge.url, "--token", adminToken, "--apply", "--json", ...short]);
    expect([ran.code, reported(ran).map(({ status }) => status)]).toEqual([0, ["good", "good"]]);
    expect(edge.told.join()).not.toContain('"weight":0');
  });

  test("a server that wants secret headers is sent those that are known here, and keeps its weight where they are not", async () => {
    const guarded = await httpServer((request, response) => {
      const isEdge = request.headers["x-origin-secret"] === "hunter2";
      response.writeHead(isEdge ? 200 : 403).end("pong");
    });
    const servers = [
      { name: "open", url: await httpServer(pong), weight: 1 },
      { name: "guarded", url: guarded, weight: 5, headerNames: ["X-Origin-Secret"] },
    ];
    const edge = await edgeServer(servers);
    const options = ["--edge", edge.url, "--token", adminToken, "--apply", ...short];
    const without = await run(options);
    expect([without.code, edge.told]).toEqual([1, ['PATCH /api/backends/open {"weight":10}']]);
    expect(without.err).toMatch(/keep their weights: guarded/);
    const headers = { "x-origin-secret": "hunter2" };
    const known = await run(options, { BACKEND_SERVERS: JSON.stringify([{ url: guarded, headers }]) });
    expect(known.code).toBe(0);
    expect(edge.told.join()).toMatch(/guarded \{"weight":[1-9]/);
    expect(known.out + known.err).not.toContain("hunter2");
  });

  test("--apply says what a weight of 0 means, and changes nothing when nothing answered", async () => {
    const [quick, dead] = [await httpServer(pong), await deadPort()];
    const some = await edgeServer([
      { name: "quick", url: quick, weight: 1 },
      { name: "dead", url: dead, weight: 1 },
    ]);
    const ran = await run(["--edge", some.url, "--token", adminToken, "--apply", ...short]);
    expect(ran.out).toContain("dead: weight 1 → 0");
    expect(ran.out).toContain("until you set another weight");
    const none = await edgeServer([{ name: "dead", url: dead, weight: 1 }]);
    expect((await run(["--edge", none.url, "--token", adminToken, "--apply", ...short])).code).toBe(2);
    expect(none.told).toEqual([]);
  });

  test("a refused weight is told, the others are still sent, and the exit code is 2", async () => {
    const urls = [await httpServer(pong), await httpServer(pong)];
    const servers = urls.map((url, index) => ({ name: `s${index}`, url, weight: 77 }));
    const edge = await edgeServer(servers, "/s0");
    const ran = await run(["--edge", edge.url, "--token", adminToken, "--apply", ...short]);
    expect(ran.code).toBe(2);
    expect(ran.out).toContain("HTTP 409: not now");
    expect(edge.told).toHaveLength(2);
  });

  test.each([
    ["a wrong token", (url: string) => ["--edge", url, "--token", "guess"], "HTTP 401"],
    ["an edge that isn't there", (_: string, dead: string) => ["--edge", dead, "--token", "guess"], "ECONNREFUSED"],
    [
      "something that isn't an edge",
      (_: string, __: string, other: string) => ["--edge", other, "--token", "guess"],
      "not JSON",
    ],
    ["a token that no header can carry", (url: string) => ["--edge", url, "--token", "guess\n"], "printable ASCII"],
  ])("%s ends with 2 before anything is tested, and the token is never shown", async (_name, argv, words) => {
    let probes = 0;
    const server = await httpServer((request, response) => {
      probes += 1;
      pong(request, response);
    });
    const edge = await edgeServer([{ name: "s", url: server, weight: 1 }]);
    const ran = await run([...argv(edge.url, await deadPort(), await httpServer(pong)), ...short]);
    expect(ran.code).toBe(2);
    expect(ran.err).toContain(words);
    expect(ran.out + ran.err).not.toContain("guess");
    expect(probes).toBe(0);
  });
});

describe("bad usage", () => {
  test.each([
    [[], "No servers"],
    [["--nonsense"], "--nonsense"],
    [["ftp://host"], "servers[0].url"],
    [["http://user:secret@host"], "without user name or password"],
    [["http://a.example", "http://a.example"], "servers[1].url"],
    [["http://a.example", "--duration", "long"], '--duration: expected a number from 0.01 to 3600, got "long"'],
    [["http://a.example", "--concurrency", "1.5"], "--concurrency: expected a whole number from 1 to 200"],
    [["http://a.example", "--concurrency", "0"], '--concurrency: expected a whole number from 1 to 200, got "0"'],
    [["http://a.example", "--interval", "0"], "--interval"],
    [["http://a.example", "--timeout", "--json"], "--timeout"],
    [["http://a.example", "--duration", "3600", "--interval", "1"], "at most 100000 requests"],
    [["http://a.example", "--path", "ping"], '--path: expected /path, got "ping"'],
    [["http://a.example", "--apply"], "need --edge"],
    [["http://a.example", "--edge", "http://edge.example"], "needs --token"],
    [["http://a.example", "--edge", "edge.example", "--token", "t"], "--edge: expected https://host"],
    [["--file", "no-such-file.json"], "no-such-file.json"],
  ])("%j says what is wrong and exits with 2", async (argv, words) => {
    const ran = await run(argv);
    expect(ran.code).toBe(2);
    expect(ran.err).toContain(words);
    expect(ran.out).toBe("");
    expect(ran.err).not.toContain("secret@");
  });

  test("and so in Chinese", async () => {
    expect((await run(["--zh"])).err).toContain("没有服务器");
  });

  test("--help lists every option and the exit codes", async () => {
    const ran = await run(["--help"]);
    expect(ran.code).toBe(0);
    for (const option of ["--edge", "--token", "--apply", "--concurrency", "--duration", "--timeout", "--interval"]) {
      expect(ran.out).toContain(option);
    }
    expect(ran.out).toContain("Exit code: 0");
  });
});

describe("as a process", () => {
  const program = new URL("../../tools/ip-tester/main.ts", import.meta.url).pathname;

  function start(argv: readonly string[]) {
    const child = spawn(process.execPath, [program, ...argv], { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
    let out = "";
    child.stdout.on("data", (chunk) => (out += chunk));
    const exited = new Promise<{ code: number | null; out: string }>((resolve) => {
      child.on("close", (code) => resolve({ code, out }));
    });
    return { child, exited };
  }

  test("it runs on plain Node and exits with its code", async () => {
    const { exited } = start([await httpServer(pong), await deadPort(), "--json", ...short]);
    const { code, out } = await exited;
    expect(code).toBe(1);
    expect(JSON.parse(out).exitCode).toBe(1);
  });

  test("Ctrl-C ends the measurement early and still reports it", async () => {
    let asked = () => {};
    const first = new Promise<void>((resolve) => {
      asked = resolve;
    });
    const url = await httpServer((request, response) => {
      asked();
      pong(request, response);
    });
    const { child, exited } = start([url, "--duration", "600", "--json"]);
    await first;
    child.kill("SIGINT");
    const { code, out } = await exited;
    expect(code).toBe(0);
    expect(JSON.parse(out).servers[0].requests).toBeGreaterThan(0);
  });
});
