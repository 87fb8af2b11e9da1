/** Makes an answer that no cache had: pick, forward, respond. */
import type { Route } from "../shared/route.ts";
import { taskIdOf } from "../shared/jimeng/tasks.ts";
import { outgoing } from "./body.ts";
import type { Outgoing } from "./body.ts";
import type { Exchange } from "./exchange.ts";
import { failureResponse } from "./failure.ts";
import type { Failure } from "./failure.ts";
import { modelsResponse, usageResponse } from "./fan-out.ts";
import { forward } from "./forward.ts";
import type { Forwarded } from "./forward.ts";
import { objectPatienceMs, patiently } from "./patience.ts";
import { pick } from "./pick.ts";
import { respond } from "./respond.ts";
import { UploadFailed } from "./upload.ts";
import type { UploadFault, UploadPatience } from "./upload.ts";
import { verdictOf } from "./upstream.ts";
import type { Produced, Upstream } from "./upstream.ts";

export function produce(exchange: Exchange, route: Route, upstream: Upstream): Promise<Produced> {
  switch (route.answering) {
    case "models":
      return modelsResponse(exchange, route, upstream);
    case "usage_stats":
    case "usage_session":
    case "usage_history":
    case "usage_range":
      return usageResponse(exchange, route, route.answering, upstream);
    case "forward":
    case "task_home":
    case "task_submit":
      return forwarded(exchange, route, upstream);
  }
}

const msPerS = 1000;
const bytesPerKiB = 1024;

/** Nothing has been sent to any backend. */
const unsent: Readonly<Record<UploadFault, Failure>> = {
  body_unreadable: {
    code: "body_unreadable",
    message: "The request's body could not be read to its end: it broke off, or its chunks are malformed.",
  },
  request_timeout: {
    code: "request_timeout",
    message:
      "The request's body did not arrive: its upload has been silent for too long. Nothing was sent to a backend.",
    retry: true,
  },
};

async function forwarded(exchange: Exchange, route: Route, upstream: Upstream): Promise<Produced> {
  let body: Outgoing;
  try {
    body = await outgoing(exchange.request, route, patienceOf(exchange));
  } catch (error) {
    if (!(error instanceof UploadFailed)) throw error;
    exchange.outcome = "rejected";
    exchange.reason = error.fault;
    return { response: failureResponse(unsent[error.fault]), verdict: "refused" };
  }
  try {
    return await sent(exchange, route, body, upstream);
  } finally {
    body.drop();
  }
}

function patienceOf({ edge }: Exchange): UploadPatience {
  const { uploadIdle, uploadRate } = edge.config.DEADLINES;
  return { idleMs: uploadIdle * msPerS, leastBytesPerMs: (uploadRate * bytesPerKiB) / msPerS };
}

async function sent(exchange: Exchange, route: Route, body: Outgoing, upstream: Upstream): Promise<Produced> {
  const picked = await pick(exchange, route, body);
  if (picked.kind === "refused") {
    exchange.outcome = "rejected";
    exchange.reason = picked.failure.code;
    return { response: failureResponse(picked.failure), verdict: "failed" };
  }
  const { leaseId, candidates } = picked;
  const journey = { exchange, route, routeClass: body.routeClass, outgoing: body, leaseId, candidates, upstream };
  const done = await forward(journey);
  if (route.answering === "task_submit") await rememberHome(exchange, done);
  return { response: respond(exchange, done), verdict: verdictOf(done.outcome) };
}

/** Before the client learns the task's id, the registry knows where it lives. */
async function rememberHome({ edge, waitUntil }: Exchange, { answer, backend }: Forwarded): Promise<void> {
  const taskId = answer?.body.kind === "bytes" ? taskIdOf(answer.body.json) : null;
  if (taskId === null) return;
  // The task runs and is paid for: its answer goes out in any case, though its look-ups may miss it.
  const known = edge.registry.rememberTask(taskId, backend).then(
    () => true,
    (error: unknown) => {
      edge.warnOncePerMinute("task_home_lost", error);
      return false;
    },
  );
  waitUntil(known);
  if ((await patiently(known)) === null) edge.warnOncePerMinute("task_home_late", `not within ${objectPatienceMs} ms`);
}
