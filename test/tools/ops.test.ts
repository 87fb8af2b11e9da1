/** The dashboard and the alert rules that operators load use the metrics there are, as they are. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { alertNames } from "../../src/shared/config/config.ts";
import { healthStates, operatorStates } from "../../src/shared/contract.ts";
import {
  cacheResults,
  leaseStates,
  limiterDecisions,
  probeResults,
  registryCalls,
} from "../../src/shared/metrics/fleet-metrics.ts";
import { metricNames, metrics } from "../../src/shared/metrics/table.ts";
import type { MetricName } from "../../src/shared/metrics/table.ts";
import { outcomeKinds } from "../../src/shared/outcome.ts";
import { routeClasses } from "../../src/shared/route.ts";

function file(name: string): string {
  return readFileSync(new URL(`../../ops/${name}`, import.meta.url), "utf8");
}

interface Panel {
  readonly id: number;
  readonly title: string;
  readonly targets?: readonly { readonly expr: string }[];
}
const dashboard = JSON.parse(file("grafana-dashboard.json")) as { readonly panels: readonly Panel[] };
const panelQueries = dashboard.panels.flatMap((panel) =>
  (panel.targets ?? []).map(({ expr }) => [panel.title, expr] as const),
);

/** `expr: one line`, or the lines below `expr: |` that are indented deeper. */
function ruleQueries(yaml: string): readonly (readonly [string, string])[] {
  const lines = yaml.split("\n");
  return lines.flatMap((line, index) => {
    const name = /^\s*- alert: (\w+)$/u.exec(line)?.[1];
    if (name === undefined) return [];
    const at = lines.findIndex((later, place) => place > index && /^\s*expr:/u.test(later));
    const depth = (lines[at] ?? "").search(/\S/u);
    const first = (lines[at] ?? "").replace(/^\s*expr:\s*\|?/u, "");
    const rest = lines.slice(at + 1);
    const end = rest.findIndex((later) => later.trim() !== "" && later.search(/\S/u) <= depth);
    return [[name, [first, ...rest.slice(0, end)].join("\n").trim()] as const];
  });
}

interface Use {
  readonly metric: MetricName;
  readonly matchers: readonly { readonly label: string; readonly value: string }[];
}

/** The metrics that a PromQL expression uses, each resolved to the family it belongs to. */
function uses(expr: string): readonly Use[] {
  return [...expr.matchAll(/\b(jimeng_edge_[a-z0-9_]+)(?:\{([^}]*)\})?/gu)].map(([, name = "", matcherText = ""]) => {
    const family = metricNames.find(
      (known) =>
        known === name ||
        (metrics[known].type === "histogram" && new RegExp(`^${known}_(?:bucket|sum|count)$`, "u").test(name)),
    );
    if (family === undefined) throw new Error(`there is no metric ${name}`);
    const matchers = [...matcherText.matchAll(/(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"/gu)].map(
      ([, label = "", value = ""]) => ({ label, value }),
    );
    return { metric: family, matchers };
  });
}

const closedSets: Readonly<Record<string, readonly string[]>> = {
  outcome: outcomeKinds,
  class: routeClasses,
  rule: alertNames,
  state: [...healthStates, ...operatorStates, ...leaseStates],
  decision: limiterDecisions,
  result: [...probeResults, ...cacheResults],
  call: registryCalls,
};

describe("the dashboard and the alert rules", () => {
  const queries = [...panelQueries, ...ruleQueries(file("alerts.yml"))].map(([title, expr]) => ({ title, expr }));

  test("are all found", () => {
    expect(panelQueries.length).toBeGreaterThan(30);
    expect(ruleQueries(file("alerts.yml")).map(([name]) => name)).toEqual(
      [...file("alerts.yml").matchAll(/- alert: (\w+)/gu)].map(([, name]) => name),
    );
    for (const { title, expr } of queries) expect(expr, title).not.toBe("");
  });

  test.each(queries)("$title uses metrics, labels and values that exist: $expr", ({ title, expr }) => {
    const used = uses(expr);
    expect(used.length > 0 || expr.startsWith("up{"), title).toBe(true);
    for (const { metric, matchers } of used) {
      for (const { label, value } of matchers) {
        expect(metrics[metric].labels, `${metric} has no label ${label}`).toContain(label);
        if (value.startsWith("$")) continue;
        for (const word of value.split("|")) expect(closedSets[label], `${label} is never ${word}`).toContain(word);
      }
    }
    const known = new Set(["le", "priority", ...used.flatMap(({ metric }) => metrics[metric].labels)]);
    for (const [, names = ""] of expr.matchAll(/\b(?:by|on|ignoring|group_left)\s*\(([^)]*)\)/gu)) {
      for (const name of names.split(",").map((text) => text.trim()))
        expect(known, `nothing has the label ${name}`).toContain(name);
    }
    expect(expr.split("(").length, "brackets match").toBe(expr.split(")").length);
  });

  test("a server or a tier that an operator has taken out pages nobody", () => {
    const rules = Object.fromEntries(ruleQueries(file("alerts.yml")));
    for (const name of ["JimengBackendDown", "JimengTierDown"])
      expect(rules[name], name).toContain('and on (backend) jimeng_edge_backend_operator_state{state="active"} == 1');
  });

  test("a counter is only looked at through rate() or increase()", () => {
    for (const { expr } of queries) {
      for (const { metric } of uses(expr)) {
        if (metrics[metric].type === "gauge") continue;
        expect(expr).toMatch(new RegExp(`(?:rate|increase)\\(${metric}`, "u"));
      }
    }
  });

  test("every metric is on the dashboard", () => {
    const shown = new Set(panelQueries.flatMap(([, expr]) => uses(expr).map(({ metric }) => metric)));
    expect(metricNames.filter((name) => !shown.has(name))).toEqual([]);
  });

  test("panels have ids of their own", () => {
    expect(new Set(dashboard.panels.map((panel) => panel.id)).size).toBe(dashboard.panels.length);
  });
});
