/** A finished run as tables for people and as one value for programs. */
import Table from "cli-table3";
import type { EdgePreference, EdgeServer } from "./edge.ts";
import type { Language } from "./language.ts";
import type { Target } from "./probe.ts";
import type { Ranked } from "./ranking.ts";

export interface AppliedWeight {
  readonly name: string;
  readonly from: number;
  readonly to: number;
  /** null: it was sent and taken, or was right already. */
  readonly error: string | null;
}

export interface RunReport {
  /** Best first. */
  readonly servers: readonly Ranked<Target>[];
  readonly edge: EdgePreference | null;
  /** null: not asked for. */
  readonly applied: readonly AppliedWeight[] | null;
  readonly exitCode: 0 | 1 | 2;
}

/** The same server on the edge: by address, else by name. */
export function onEdge(target: Target, edge: EdgePreference | null): EdgeServer | null {
  if (edge === null) return null;
  return (
    edge.servers.find((server) => server.url === target.url) ??
    edge.servers.find((server) => server.name === target.name) ??
    null
  );
}

/** Milliseconds to three decimals, shares from 0 to 1. Headers of the servers are not part of it. */
export function jsonReport(report: RunReport): unknown {
  const rounded = (value: unknown): unknown => {
    if (typeof value === "number") return Math.round(value * 1000) / 1000;
    if (Array.isArray(value)) return value.map(rounded);
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, rounded(part)]));
  };
  return {
    servers: report.servers.map(({ server, summary, rank, suggestedWeight }) => ({
      rank,
      name: server.name,
      url: server.url,
      path: server.path,
      suggestedWeight,
      ...(rounded(summary) as object),
      availability: summary.availability,
      edge: onEdge(server, report.edge),
    })),
    applied: report.applied,
    exitCode: report.exitCode,
  };
}

export function textReport(report: RunReport, language: Language): string {
  const sections = [
    latencyTable(report, language),
    partsTable(report, language),
    errorsTable(report, language),
    edgeTable(report, language),
    recommendationTable(report, language),
  ];
  return sections.filter((section) => section !== null).join("\n\n");
}

/** What became of `--apply`, a line for each server and a warning where a weight is 0. */
export function appliedLines(applied: readonly AppliedWeight[], language: Language): string[] {
  const lines = applied.map(({ name, from, to, error }) => {
    if (error !== null) return language.notApplied(error);
    return from === to ? language.unchanged(name, to) : language.applied(name, from, to);
  });
  const zeros = applied.filter(({ to, error }) => to === 0 && error === null).map(({ name }) => name);
  return zeros.length === 0 ? lines : [...lines, language.zeroWeight(zeros.join(", "))];
}

function latencyTable({ servers }: RunReport, { headings, titles, statuses }: Language): string {
  const rows = servers.map(({ server, summary }) => [
    server.name,
    statuses[summary.status],
    summary.requests,
    percent(summary.availability),
    ...(["min", "avg", "p50", "p95", "p99", "max"] as const).map((figure) => ms(summary.latencyMs?.[figure] ?? null)),
  ]);
  return table(titles.latency, headings.latency, rows, 2);
}

function partsTable({ servers }: RunReport, { headings, titles }: Language): string {
  const rows = servers.map(({ server, summary: { partsMs } }) => [
    server.name,
    ms(partsMs.dns),
    ms(partsMs.tcp),
    ms(partsMs.tls),
    ms(partsMs.firstByte),
  ]);
  return table(titles.parts, headings.parts, rows, 1);
}

function errorsTable({ servers }: RunReport, { headings, titles, causes, phases }: Language): string | null {
  const rows = servers.flatMap(({ server, summary }) =>
    summary.errors.map(({ cause, phase, count, detail }) => [
      server.name,
      causes[cause],
      count,
      phases[phase],
      printable(detail),
    ]),
  );
  return rows.length === 0 ? null : table(titles.errors, headings.errors, rows, 5);
}

function edgeTable({ servers, edge }: RunReport, language: Language): string | null {
  if (edge === null) return null;
  const rows = servers.map(({ server, summary }) => {
    const there = onEdge(server, edge);
    if (there === null) return [server.name, language.notOnEdge];
    const { lastHour } = there;
    return [
      server.name,
      there.operatorState === "active" ? there.state : there.operatorState,
      there.weight,
      lastHour.requests,
      lastHour.successRate === null ? "–" : percent(lastHour.successRate),
      ms(lastHour.avgMs),
      ms(lastHour.p50Ms),
      ms(lastHour.p95Ms),
      ms(summary.latencyMs?.p50 ?? null),
      ms(summary.latencyMs?.p95 ?? null),
    ];
  });
  const region = edge.region === null ? "" : ` (${edge.region})`;
  return `${table(language.titles.edge + region, language.headings.edge, rows, 2)}\n${language.edgeNote}`;
}

function recommendationTable({ servers }: RunReport, { headings, titles }: Language): string {
  const rows = servers.map(({ server, rank, suggestedWeight }) => [rank, server.name, server.url, suggestedWeight]);
  return table(titles.recommendation, headings.recommendation, rows, 3);
}

/** `words`: the leading columns that hold words; the rest are numbers and stand to the right. */
function table(title: string, head: readonly string[], rows: (string | number)[][], words: number): string {
  const made = new Table({
    head: [...head],
    colAligns: head.map((_, column) => (column < words ? "left" : "right")),
    // Plain text: it must survive a pipe and a log.
    style: { head: [], border: [], compact: true },
  });
  made.push(...rows);
  return `${title}\n${made.toString()}`;
}

function ms(value: number | null): string {
  if (value === null) return "–";
  return value >= 100 ? value.toFixed(0) : value.toFixed(1);
}

/** Rounded down, so that only what is whole is called 100 %; the addend undoes what the binary fraction lost. */
function percent(share: number): string {
  return `${(Math.floor(share * 1000 + 1e-6) / 10).toFixed(1)} %`;
}

/** A server's words must not steer the terminal. */
function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}]+/gu, " ").slice(0, 100);
}
