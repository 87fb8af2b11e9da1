/**
 * The Prometheus text format, version 0.0.4:
 * https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
 */

export const contentType = "text/plain; version=0.0.4; charset=utf-8";

export type MetricType = "counter" | "gauge" | "histogram";
export type Labels = Readonly<Record<string, string>>;

export interface Sample {
  readonly labels: Labels;
  readonly value: number;
}

export interface HistogramSample {
  readonly labels: Labels;
  /** Upper bounds, rising, without +Inf; and how many values lie in each bucket alone (one more entry: beyond the last). */
  readonly bounds: readonly number[];
  readonly counts: readonly number[];
  readonly sum: number;
}

export type Family =
  | {
      readonly name: string;
      readonly help: string;
      readonly type: "counter" | "gauge";
      readonly samples: readonly Sample[];
    }
  | {
      readonly name: string;
      readonly help: string;
      readonly type: "histogram";
      readonly samples: readonly HistogramSample[];
    };

/** Families without a sample are left out; an empty text is a valid exposition. */
export function expose(families: readonly Family[]): string {
  return families.map(exposeFamily).join("");
}

function exposeFamily(family: Family): string {
  if (family.samples.length === 0) return "";
  const head = [`# HELP ${family.name} ${escapeHelp(family.help)}`, `# TYPE ${family.name} ${family.type}`];
  const lines =
    family.type === "histogram"
      ? family.samples.flatMap((sample) => histogramLines(family.name, sample))
      : family.samples.map(({ labels, value }) => line(family.name, labels, value));
  return `${[...head, ...lines].join("\n")}\n`;
}

function histogramLines(name: string, { labels, bounds, counts, sum }: HistogramSample): readonly string[] {
  let total = 0;
  const buckets = bounds.map((bound, index) => {
    total += counts[index] ?? 0;
    return line(`${name}_bucket`, { ...labels, le: number(bound) }, total);
  });
  total += counts[bounds.length] ?? 0;
  return [
    ...buckets,
    line(`${name}_bucket`, { ...labels, le: "+Inf" }, total),
    line(`${name}_sum`, labels, sum),
    line(`${name}_count`, labels, total),
  ];
}

function line(name: string, labels: Labels, value: number): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escapeLabel(text)}"`);
  return `${name}${pairs.length === 0 ? "" : `{${pairs.join(",")}}`} ${number(value)}`;
}

function number(value: number): string {
  if (Number.isFinite(value)) return String(value);
  if (Number.isNaN(value)) return "NaN";
  return value > 0 ? "+Inf" : "-Inf";
}

function escapeHelp(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}

/** Text that isn't well-formed Unicode would make the whole answer unreadable. */
function escapeLabel(text: string): string {
  return text.toWellFormed().replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"');
}
