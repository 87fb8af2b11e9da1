import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { EdgeCounters, TableBackend } from "../../../src/shared/contract.ts";
import { expose } from "../../../src/shared/metrics/exposition.ts";
import type { Family } from "../../../src/shared/metrics/exposition.ts";
import { fleetFamilies } from "../../../src/shared/metrics/fleet-metrics.ts";
import type { FleetMetrics } from "../../../src/shared/metrics/fleet-metrics.ts";
import { addLatencies, latencyBoundsS, noLatencies } from "../../../src/shared/metrics/latency-totals.ts";
import { metricNames, metrics } from "../../../src/shared/metrics/table.ts";
import type { MetricName } from "../../../src/shared/metrics/table.ts";
import { lint, readExposition } from "./exposition-lint.ts";

const row: TableBackend = {
  name: "a",
  url: "https://secret-host.example.com",
  priority: 1,
  region: "asia",
  weight: 3,
  weightShare: 0.5,
  maxInFlight: 8,
  operatorState: "active",
  state: "recovering",
  trialFor: null,
  healthy: true,
  inFlight: 2,
  openAgeMs: 1500,
  load: {},
  regionMs: {},
  dialect: null,
  routes: null,
  refusedRoutes: [],
  models: null,
  modelsBinding: false,
  lastCheckMs: 1_700_000_000_000,
  lastSignOfLifeMs: 1_700_000_001_500,
  consecutiveFailures: 0,
};

const counters: EdgeCounters = {
  requests: 10,
  retries: 2,
  retriesDenied: 1,
  limiter: { admitted: 9, refused: 1 },
  cache: { hit: 4 },
  registryCalls: { pick: 3 },
  logsDropped: 0,
};

const fleet: FleetMetrics = {
  backends: [
    {
      row,
      attempts: { generate: { success: 5, backend_fault: 1 } },
      latencies: [
        {
          routeClass: "generate",
          edgeRegion: "HKG",
          totals: addLatencies(noLatencies, [
            [4, 2],
            [30_000, 3],
            [9_000_000, 1],
          ]),
        },
      ],
      responseBytes: 1234,
      probes: { passed: 7, failed: 1 },
      ejections: 1,
    },
  ],
  counters,
  isolates: 2,
  leases: { active: 1, orphaned: 0 },
  retryBudget: 12.5,
  blockedClients: 3,
  overrides: 1,
  alertsFiring: {
    backend_down: 1,
    tier_down: 0,
    error_rate: 0,
    latency_p95: 0,
    request_rate: 0,
    many_blocks: 0,
    probe_late: 0,
  },
  alertMessagesDropped: 0,
  alarmLateMs: 250,
};

function valueOf(text: string, name: string, labels: Record<string, string> = {}): number | undefined {
  const samples = readExposition(text).flatMap((family) => family.samples);
  return samples.find(
    (sample) =>
      sample.name === name && Object.entries(labels).every(([label, value]) => sample.labels.get(label) === value),
  )?.value;
}

describe("the text format", () => {
  const label = fc.stringMatching(/^[a-z][a-z_]{0,8}$/u).filter((name) => name !== "le");
  const labels = fc.dictionary(
    label,
    fc.oneof(fc.string(), fc.string({ unit: "binary" }), fc.constantFrom('"', "\\", "\n", '\\"', "\\n", "}", ",", "")),
    { maxKeys: 4, noNullPrototype: true },
  );
  const value = fc.oneof(
    fc.double(),
    fc.integer(),
    fc.constantFrom(0, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1e21, 5e-324),
  );
  const distinct = {
    selector: (sample: { labels: object }) => JSON.stringify(Object.entries(sample.labels).toSorted()),
  };

  test("reads back as it was written, whatever the labels and values hold", () => {
    const family = fc.record({
      help: fc.string(),
      samples: fc.uniqueArray(fc.record({ labels, value }), { ...distinct, minLength: 1 }),
    });
    fc.assert(
      fc.property(fc.array(family), (given) => {
        const families = given.map(({ help, samples }, index): Family => ({
          name: `m${index}`,
          help,
          type: "gauge",
          samples,
        }));
        const read = readExposition(expose(families));
        expect(
          read.map(({ name, help, samples }) => ({
            name,
            help,
            samples: samples.map((sample) => ({ labels: Object.fromEntries(sample.labels), value: sample.value })),
          })),
        ).toEqual(
          families.map(({ name, help, samples }) => ({
            name,
            help,
            samples: samples.map((sample) => ({
              labels: Object.fromEntries(
                Object.entries(sample.labels).map(([key, text]) => [key, text.toWellFormed()]),
              ),
              value: "value" in sample ? sample.value + 0 : Number.NaN,
            })),
          })),
        );
      }),
    );
  });

  test("a histogram's buckets are cumulative and agree with its count, whatever lies in them", () => {
    const histogram = fc.record({
      labels,
      counts: fc.array(fc.nat(1000), { minLength: 4, maxLength: 4 }),
      sum: fc.double({ noNaN: true, min: 0, noDefaultInfinity: true }),
    });
    fc.assert(
      fc.property(fc.uniqueArray(histogram, distinct), (given) => {
        const samples = given.map((sample) => ({ ...sample, bounds: [0.1, 1, 10] }));
        const [family] = readExposition(expose([{ name: "h_seconds", help: "H.", type: "histogram", samples }]));
        const total = given.flatMap(({ counts }) => counts).reduce((sum, count) => sum + count, 0);
        const counted = (family?.samples ?? [])
          .filter((sample) => sample.name === "h_seconds_count")
          .reduce((sum, sample) => sum + sample.value, 0);
        expect(counted).toBe(total);
      }),
    );
  });

  test("a family without a sample is left out", () => {
    expect(expose([{ name: "m", help: "M.", type: "gauge", samples: [] }])).toBe("");
  });

  test("is what Prometheus' own documentation shows", () => {
    const families: Family[] = [
      {
        name: "http_requests_total",
        help: "The total number of HTTP requests.",
        type: "counter",
        samples: [{ labels: { method: "post", code: "200" }, value: 1027 }],
      },
      {
        name: "msdos_file_access_time_seconds",
        help: "Escaping.",
        type: "gauge",
        samples: [
          { labels: { path: "C:\\DIR\\FILE.TXT", error: 'Cannot find file:\n"FILE.TXT"' }, value: 1.458_255_915e9 },
        ],
      },
    ];
    expect(expose(families)).toBe(
      [
        "# HELP http_requests_total The total number of HTTP requests.",
        "# TYPE http_requests_total counter",
        'http_requests_total{method="post",code="200"} 1027',
        "# HELP msdos_file_access_time_seconds Escaping.",
        "# TYPE msdos_file_access_time_seconds gauge",
        'msdos_file_access_time_seconds{path="C:\\\\DIR\\\\FILE.TXT",error="Cannot find file:\\n\\"FILE.TXT\\""} 1458255915',
        "",
      ].join("\n"),
    );
  });
});

describe("the reader of these tests refuses what Prometheus refuses", () => {
  test.each([
    ["no line feed at the end", "# HELP m M.\n# TYPE m gauge\nm 1"],
    ["no TYPE", "# HELP m M.\nm 1\n"],
    ["no HELP", "# TYPE m gauge\nm 1\n"],
    ["an unknown type", "# HELP m M.\n# TYPE m thing\nm 1\n"],
    ["a family twice", "# HELP m M.\n# TYPE m gauge\nm 1\n# HELP m M.\n# TYPE m gauge\nm 2\n"],
    ["a sample twice", "# HELP m M.\n# TYPE m gauge\nm 1\nm 1\n"],
    ["a sample twice in another order of labels", '# HELP m M.\n# TYPE m gauge\nm{a="1",b="2"} 1\nm{b="2",a="1"} 1\n'],
    ["a sample of another family", "# HELP m M.\n# TYPE m gauge\nn 1\n"],
    ["a bare quote in a label", '# HELP m M.\n# TYPE m gauge\nm{a="""} 1\n'],
    ["an unknown escape", '# HELP m M.\n# TYPE m gauge\nm{a="\\t"} 1\n'],
    ["a label twice", '# HELP m M.\n# TYPE m gauge\nm{a="1",a="2"} 1\n'],
    ["no value", "# HELP m M.\n# TYPE m gauge\nm \n"],
    ["a value that is no number", "# HELP m M.\n# TYPE m gauge\nm Infinity\n"],
    [
      "buckets that fall",
      '# HELP m M.\n# TYPE m histogram\nm_bucket{le="1"} 2\nm_bucket{le="+Inf"} 1\nm_sum 1\nm_count 1\n',
    ],
    ["buckets without +Inf", '# HELP m M.\n# TYPE m histogram\nm_bucket{le="1"} 1\nm_sum 1\nm_count 1\n'],
    [
      "a count that isn't the last bucket's",
      '# HELP m M.\n# TYPE m histogram\nm_bucket{le="+Inf"} 1\nm_sum 1\nm_count 2\n',
    ],
    ["no sum", '# HELP m M.\n# TYPE m histogram\nm_bucket{le="+Inf"} 1\nm_count 1\n'],
  ])("%s", (_name, text) => {
    expect(() => readExposition(text)).toThrow();
  });

  test.each<[string, Parameters<typeof lint>[0]]>([
    ["no help", { name: "m", help: " ", type: "gauge", labels: [] }],
    ["camelCase", { name: "queueLength", help: "Q.", type: "gauge", labels: [] }],
    ["a colon", { name: "a:b", help: "Q.", type: "gauge", labels: [] }],
    ["a counter without _total", { name: "m_requests", help: "Q.", type: "counter", labels: [] }],
    ["a gauge with _total", { name: "m_total", help: "Q.", type: "gauge", labels: [] }],
    ["a gauge with _count", { name: "m_count", help: "Q.", type: "gauge", labels: [] }],
    ["a unit that is not basic", { name: "m_milliseconds", help: "Q.", type: "gauge", labels: [] }],
    ["an abbreviated unit", { name: "m_ms", help: "Q.", type: "gauge", labels: [] }],
    ["a type in the name", { name: "m_gauge", help: "Q.", type: "gauge", labels: [] }],
    ["le on a histogram", { name: "m_seconds", help: "Q.", type: "histogram", labels: ["le"] }],
    ["a camelCase label", { name: "m", help: "Q.", type: "gauge", labels: ["edgeRegion"] }],
  ])("the linter finds %s", (_name, definition) => {
    expect(lint(definition)).not.toEqual([]);
  });
});

describe("our metrics", () => {
  test.each(metricNames)("%s is named by Prometheus' conventions", (name) => {
    expect(lint({ name, ...metrics[name] })).toEqual([]);
  });

  test("are exposed under their names with their types, helps and no other labels", () => {
    const read = readExposition(expose(fleetFamilies(fleet)));
    expect(read.map((family) => family.name)).toEqual(metricNames);
    for (const { name, help, type, samples } of read) {
      const definition = metrics[name as MetricName];
      expect({ help, type }).toEqual({ help: definition.help, type: definition.type });
      for (const sample of samples) {
        const labels = [...sample.labels.keys()].filter((label) => !(type === "histogram" && label === "le"));
        expect(labels, name).toEqual(definition.labels);
      }
    }
  });

  test("say what the registry knows, in base units", () => {
    const text = expose(fleetFamilies(fleet));
    expect(valueOf(text, "jimeng_edge_backend_up", { backend: "a" })).toBe(1);
    expect(valueOf(text, "jimeng_edge_backend_state", { backend: "a", state: "recovering" })).toBe(1);
    expect(valueOf(text, "jimeng_edge_backend_state", { backend: "a", state: "healthy" })).toBe(0);
    expect(valueOf(text, "jimeng_edge_backend_open_age_seconds", { backend: "a" })).toBe(1.5);
    expect(valueOf(text, "jimeng_edge_backend_last_check_timestamp_seconds", { backend: "a" })).toBe(1_700_000_000);
    expect(valueOf(text, "jimeng_edge_backend_attempts_total", { class: "generate", outcome: "backend_fault" })).toBe(
      1,
    );
    expect(valueOf(text, "jimeng_edge_backend_probes_total", { result: "failed" })).toBe(1);
    expect(valueOf(text, "jimeng_edge_backend_request_duration_seconds_bucket", { le: "0.005" })).toBe(2);
    expect(valueOf(text, "jimeng_edge_backend_request_duration_seconds_bucket", { le: "30" })).toBe(5);
    expect(valueOf(text, "jimeng_edge_backend_request_duration_seconds_bucket", { le: "+Inf" })).toBe(6);
    expect(valueOf(text, "jimeng_edge_backend_request_duration_seconds_sum")).toBeCloseTo(0.008 + 90 + 9000, 9);
    expect(valueOf(text, "jimeng_edge_alarm_lateness_seconds")).toBe(0.25);
    expect(valueOf(text, "jimeng_edge_limiter_blocked_clients")).toBe(3);
  });

  test("a closed set of counts is there at 0 from the start", () => {
    const text = expose(fleetFamilies(fleet));
    expect(valueOf(text, "jimeng_edge_limiter_decisions_total", { decision: "failed_open" })).toBe(0);
    expect(valueOf(text, "jimeng_edge_cache_results_total", { result: "stale" })).toBe(0);
    expect(valueOf(text, "jimeng_edge_registry_calls_total", { call: "renew" })).toBe(0);
    expect(valueOf(text, "jimeng_edge_alerts_firing", { rule: "probe_late" })).toBe(0);
  });

  test("what isn't known is absent, not zero", () => {
    const unknown = {
      ...fleet,
      blockedClients: null,
      backends: fleet.backends.map((backend) => ({
        ...backend,
        row: { ...row, maxInFlight: null, lastCheckMs: null, lastSignOfLifeMs: null },
      })),
    };
    const text = expose(fleetFamilies(unknown));
    for (const name of [
      "jimeng_edge_limiter_blocked_clients",
      "jimeng_edge_backend_max_in_flight_requests",
      "jimeng_edge_backend_last_check_timestamp_seconds",
    ]) {
      expect(text).not.toContain(name);
    }
  });

  test("no URL of a backend is in them", () => {
    expect(expose(fleetFamilies(fleet))).not.toContain("secret-host");
  });

  test("a fleet without backends and without history is a valid exposition", () => {
    const empty = { ...fleet, backends: [], blockedClients: null };
    expect(() => readExposition(expose(fleetFamilies(empty)))).not.toThrow();
  });
});

describe("latency totals", () => {
  test("count like a naive list of all values, and only grow", () => {
    const values = fc.array(fc.tuple(fc.double({ min: 0, max: 4e6, noNaN: true }), fc.integer({ min: 1, max: 5 })));
    fc.assert(
      fc.property(fc.array(values), (batches) => {
        const totals = batches.reduce(addLatencies, noLatencies);
        const all = batches.flat().flatMap(([valueMs, count]) => Array.from({ length: count }, () => valueMs));
        let cumulative = 0;
        for (const [index, bound] of latencyBoundsS.entries()) {
          cumulative += totals.counts[index] ?? Number.NaN;
          expect(cumulative).toBe(all.filter((valueMs) => valueMs <= bound * 1000).length);
        }
        expect(totals.counts.reduce((sum, count) => sum + count, 0)).toBe(all.length);
        expect(totals.sumMs).toBeCloseTo(
          all.reduce((sum, valueMs) => sum + valueMs, 0),
          3,
        );
        expect(noLatencies.sumMs).toBe(0);
      }),
    );
  });
});
