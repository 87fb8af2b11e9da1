/** The long form of forwarding's promises: faults for a minute each, streams for a minute, memory under large bodies. */
import { setTimeout as sleep } from "node:timers/promises";
import { startSystem, type EdgeSystem } from "../e2e/edge.ts";
import { arrivalsOf, percentile } from "../e2e/forwarding/arrivals.ts";
import { faultRound, faults, startFour, type RoundResult } from "../e2e/forwarding/fault-round.ts";
import { inFlight, peakMiB, residentMiB, workerdPid } from "../e2e/forwarding/observed.ts";
import { chunk, head, lastChunk, type RawBackend } from "../e2e/forwarding/raw-backend.ts";
import { openRaw, requestBytes } from "../e2e/forwarding/raw-client.ts";
import { startRawSystem } from "../e2e/forwarding/raw-system.ts";
import type { Verification, VerificationReport } from "../verification.ts";

const rates = { generations: 20, cheap: 200 };
const minute = { beforeMs: 5000, faultMs: 60_000, afterMs: 60_000, patienceMs: 60_000 };

function checkRound(report: VerificationReport, name: string, result: RoundResult): void {
  const { cheap, cheapFailed, generations, failed, failedLate, failedElsewhere, unclear, twice } = result;
  const codes = [...new Set(failed.map(({ status, code }) => `${status} ${code}`))].join(", ");
  report.check(`${name}: cheap requests failed = 0`, cheapFailed.length === 0, `${cheapFailed.length} of ${cheap}`);
  report.check(`${name}: no generation was submitted twice`, twice.length === 0, `${generations} generations`);
  report.check(
    `${name}: generations failed only at the faulty one, and none that was sent a second after its first failure`,
    failedLate.length === 0 && failedElsewhere.length === 0,
    `${failed.length} of ${generations} failed${codes === "" ? "" : `: ${codes}`}`,
  );
  report.check(`${name}: each with 502 or 504 and x-should-retry: false`, unclear.length === 0);
  report.check(`${name}: every lease ended`, result.leases === 0, `${result.leases} left`);
  report.check(`${name}: well again a minute later`, result.state === "healthy", String(result.state));
  report.note(`${name}: slowest cheap request ${Math.round(result.slowestCheapMs)} ms`);
}

const underFaults: Verification = {
  name: "Forwarding while a backend fails",
  async run(report) {
    const system = await startFour(1500);
    try {
      await system.get("/health");
      for (const fault of faults) checkRound(report, fault.name, await faultRound(system, fault, rates, minute));
    } finally {
      await system.stop();
    }
  },
};

// ── A client that leaves ────────────────────────────────────────────────────────────────────────

/** Beyond what the edge follows a generation for after its client has gone. */
const followedS = 25;

const orphans: Verification = {
  name: "A client that leaves a generation that never ends",
  async run(report) {
    const system = await startSystem({ backends: [{ name: "one" }] });
    try {
      for (let index = 0; index < 30; index += 1) await system.post("/v1/images/generations", { prompt: `${index}` });
      const headers = { "Content-Type": "application/json", Authorization: "Bearer a-session" };
      const ask = { method: "POST", headers, body: JSON.stringify({ prompt: "[[silent]]" }) };
      const client = await openRaw(system.port, requestBytes("/v1/images/generations", ask));
      await sleep(1000);
      client.resetAndDestroy();
      await sleep((followedS - 5) * 1000);
      const followed = await inFlight(system);
      report.check("is counted as in flight while it is followed", followed === 1, `${followed} in flight`);
      // The p95 of this backend has passed long ago, so it is taken to be over.
      await sleep(10_000);
      const left = await inFlight(system);
      report.check("and no longer than such a generation takes on that backend", left === 0, `${left} in flight`);
      // Beyond the next time at which a lease that somebody holds is renewed.
      await sleep(30_000);
      const later = await inFlight(system);
      report.check("nor does a renewal bring it back", later === 0, `${later} in flight`);
    } finally {
      await system.stop();
    }
  },
};

// ── Streams ─────────────────────────────────────────────────────────────────────────────────────

const events = { "Content-Type": "text/event-stream", "Transfer-Encoding": "chunked" };
const chat = { model: "jimeng-4.5", stream: true, messages: [{ role: "user", content: "x" }] };

const everyMs = 50;

interface Delays {
  readonly direct: readonly number[];
  readonly through: readonly number[];
}

/**
 * Every 50 ms an event on each stream, no two streams at the same moment: the times that they took, in milliseconds, on the streams
 * through the edge and on one that is read directly.
 */
async function addedDelays(edge: EdgeSystem, backend: RawBackend, count: number, seconds: number): Promise<Delays> {
  const opened: { write(bytes: Buffer): unknown }[] = [];
  backend.script = (request, socket) => {
    socket.write(head(200, events));
    const place = /\d+/.exec(request.target === "/direct" ? "0" : request.body.toString("utf8"))?.[0];
    opened[Number(place)] = socket;
  };
  const asked = [fetch(`${backend.url}/direct`)];
  for (let place = 1; place <= count; place += 1) {
    const messages = [{ role: "user", content: `${place}` }];
    asked.push(edge.post("/v1/chat/completions", { messages, stream: true }));
  }
  const arrivals = (await Promise.all(asked)).map(arrivalsOf);
  const total = (seconds * 1000) / everyMs;
  const sent = await Promise.all(opened.map((socket, place) => sendEvents(socket, total, (place * everyMs) / count)));
  const arrived = await Promise.all(arrivals);
  const took = arrived.map((stream, place) => {
    if ([...stream.keys()].some((number, index) => number !== index) || stream.size !== total)
      throw new Error(`a stream brought ${stream.size} of ${total} events, or out of order`);
    return [...stream].map(([index, atMs]) => atMs - (sent[place]?.[index] ?? Number.NaN));
  });
  return { direct: took[0] ?? [], through: took.slice(1).flat() };
}

function checkDelay(report: VerificationReport, what: string, { direct, through }: Delays): void {
  const shown = (values: readonly number[]): string =>
    `median ${percentile(values, 0.5).toFixed(2)} ms, p99 ${percentile(values, 0.99).toFixed(2)} ms`;
  const added = percentile(through, 0.99) - percentile(direct, 0.99);
  report.check(
    `${what} are delayed by less than 5 ms in 99 of 100 cases`,
    added < 5,
    `p99 ${added.toFixed(2)} ms more than directly; through the edge ${shown(through)}; directly ${shown(direct)}`,
  );
}

/** The times at which its events left. */
async function sendEvents(
  socket: { write(bytes: Buffer): unknown },
  total: number,
  phaseMs: number,
): Promise<number[]> {
  const sent: number[] = [];
  const beganMs = performance.now() + phaseMs;
  for (let index = 0; index < total; index += 1) {
    await sleep(Math.max(0, beganMs + index * everyMs - performance.now()));
    sent.push(performance.now());
    socket.write(chunk(`data: ${index}\n\n`));
  }
  socket.write(Buffer.concat([chunk("data: [DONE]\n\n"), lastChunk]));
  return sent;
}

const streams: Verification = {
  name: "Streams",
  async run(report) {
    const raw = await startRawSystem();
    const backend = raw.backends[0] as RawBackend;
    try {
      checkDelay(report, "one stream's events", await addedDelays(raw.edge, backend, 1, 20));
      const fifty = await addedDelays(raw.edge, backend, 50, 60);
      const { length } = fifty.through;
      report.check(
        "50 streams at once for 60 s: every event of each, in order",
        length === 50 * 1200,
        `${length} events`,
      );
      checkDelay(report, "… and they", fifty);
      await checkKeepAlive(report, raw.edge, backend);
    } finally {
      await raw.stop();
    }
  },
};

async function checkKeepAlive(report: VerificationReport, edge: EdgeSystem, backend: RawBackend): Promise<void> {
  backend.script = async (_request, socket) => {
    socket.write(Buffer.concat([head(200, events), chunk('data: {"a":1}\n\n')]));
    await sleep(17_000);
    socket.write(chunk('data: {"b":'));
    await sleep(17_000);
    socket.write(Buffer.concat([chunk("2}\n\ndata: [DONE]\n\n"), lastChunk]));
  };
  const text = await (await edge.post("/v1/chat/completions", chat)).text();
  const expected = 'data: {"a":1}\n\n: keep-alive\n\ndata: {"b":2}\n\ndata: [DONE]\n\n';
  report.check("15 s of silence bring a comment, between events only", text === expected, JSON.stringify(text));
}

// ── Memory ──────────────────────────────────────────────────────────────────────────────────────

const mebi = 1024 * 1024;
const atOnce = 20;

/** One upload, written as fast as it is taken, from one buffer of the client's. */
function upload(edge: EdgeSystem, bytes: number): Promise<Response> {
  const boundary = "boundary";
  const opening = `--${boundary}\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nx\r\n--${boundary}\r\nContent-Disposition: form-data; name="images"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n`;
  const piece = new Uint8Array(65_536);
  let left = bytes;
  const encoder = new TextEncoder();
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(encoder.encode(opening)),
    pull(controller) {
      if (left <= 0) {
        controller.enqueue(encoder.encode(`\r\n--${boundary}--\r\n`));
        controller.close();
        return;
      }
      controller.enqueue(piece.subarray(0, Math.min(left, piece.length)));
      left -= piece.length;
    },
  });
  const headers = { authorization: "Bearer a", "content-type": `multipart/form-data; boundary=${boundary}` };
  const init = { method: "POST", headers, body, duplex: "half" } as RequestInit;
  return fetch(`${edge.url}/v1/images/compositions`, init);
}

const memory: Verification = {
  name: "Memory under large bodies",
  async run(report) {
    const system = await startSystem({ backends: [{ name: "one" }, { name: "two" }] });
    try {
      for (let index = 0; index < 20; index += 1) await system.post("/v1/images/generations", { prompt: "warm" });
      const pid = workerdPid(system);
      await checkMemory(report, pid, `${atOnce} uploads of 50 MB at once`, 96, async () => {
        const answers = await Promise.all(Array.from({ length: atOnce }, () => upload(system, 50 * mebi)));
        await Promise.all(answers.map((answer) => answer.arrayBuffer()));
        return answers.every(({ status }) => status === 200);
      });
      await checkMemory(report, pid, `${atOnce} answers of 12 MiB at once`, 128, async () => {
        const body = { prompt: "[[b64=12MiB]]", response_format: "b64_json" };
        const answers = await Promise.all(
          Array.from({ length: atOnce }, () => system.post("/v1/images/generations", body)),
        );
        const sizes = await Promise.all(answers.map(async (answer) => (await answer.arrayBuffer()).byteLength));
        return sizes.every((size) => size > 12 * mebi);
      });
    } finally {
      await system.stop();
    }
  },
};

async function checkMemory(
  report: VerificationReport,
  pid: number,
  name: string,
  limitMiB: number,
  work: () => Promise<boolean>,
): Promise<void> {
  const idle = residentMiB(pid);
  const stop = peakMiB(pid);
  const arrived = await work();
  const more = stop() - idle;
  report.check(`${name} all arrive`, arrived);
  report.check(`${name}: less than ${limitMiB} MiB more than idle`, more < limitMiB, `${more.toFixed(1)} MiB more`);
}

export default [underFaults, orphans, streams, memory];
