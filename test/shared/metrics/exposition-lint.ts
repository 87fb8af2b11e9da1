/**
 * A strict reader of the Prometheus text format and the rules that `promtool check metrics` applies, so that a scrape
 * can't fail and a name can't surprise. https://prometheus.io/docs/practices/naming/
 */

export interface ReadSample {
  readonly name: string;
  readonly labels: ReadonlyMap<string, string>;
  readonly value: number;
}

export interface ReadFamily {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly samples: readonly ReadSample[];
}

/** Throws on the first line that the format doesn't allow. */
export function readExposition(text: string): readonly ReadFamily[] {
  if (text === "") return [];
  if (!text.endsWith("\n")) throw new Error("the last line must end with a line feed");
  const families: { name: string; help: string; type: string; samples: ReadSample[] }[] = [];
  const seen = new Set<string>();
  for (const line of text.slice(0, -1).split("\n")) {
    const help = /^# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) (.*)$/su.exec(line);
    const type = /^# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram)$/u.exec(line);
    const current = families.at(-1);
    if (help !== null) {
      const [, name = "", escaped = ""] = help;
      if (families.some((family) => family.name === name)) throw new Error(`${name} comes twice`);
      families.push({ name, help: unescape(escaped, "\\n"), type: "", samples: [] });
    } else if (type !== null) {
      const [, name = "", kind = ""] = type;
      if (current?.name !== name || current.type !== "" || current.samples.length > 0)
        throw new Error(`TYPE of ${name} is out of place`);
      current.type = kind;
    } else {
      if (current === undefined || current.type === "") throw new Error(`a sample before its TYPE: ${line}`);
      const sample = readSample(line);
      if (!belongs(sample.name, current)) throw new Error(`${sample.name} stands among the samples of ${current.name}`);
      const identity = JSON.stringify([sample.name, [...sample.labels].toSorted()]);
      if (seen.has(identity)) throw new Error(`a sample comes twice: ${line}`);
      seen.add(identity);
      current.samples.push(sample);
    }
  }
  for (const family of families) if (family.type === "histogram") checkHistogram(family);
  return families;
}

function belongs(name: string, { name: family, type }: { name: string; type: string }): boolean {
  return type === "histogram"
    ? [`${family}_bucket`, `${family}_sum`, `${family}_count`].includes(name)
    : name === family;
}

function readSample(line: string): ReadSample {
  const parts = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (NaN|[+-]Inf|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)$/su.exec(line);
  if (parts === null) throw new Error(`not a sample: ${line}`);
  const [, name = "", labelText, value = ""] = parts;
  const labels = new Map<string, string>();
  let rest = labelText ?? "";
  while (rest !== "") {
    const label = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\["\\n])*)"(?:,(?=.)|$)/u.exec(rest);
    if (label === null) throw new Error(`labels break at ${rest}`);
    const [whole, key = "", escaped = ""] = label;
    if (labels.has(key)) throw new Error(`label ${key} comes twice: ${line}`);
    labels.set(key, unescape(escaped, '"\\n'));
    rest = rest.slice(whole.length);
  }
  return { name, labels, value: value.endsWith("Inf") ? Number(`${value}inity`) : Number(value) };
}

function unescape(text: string, known: string): string {
  return text.replaceAll(/\\(.?)/gsu, (sequence, character: string) => {
    if (character === "" || !known.includes(character)) throw new Error(`unknown escape ${sequence}`);
    return character === "n" ? "\n" : character;
  });
}

/** Buckets rise, end at +Inf, and agree with the count. */
function checkHistogram({ name, samples }: { name: string; samples: readonly ReadSample[] }): void {
  const series = new Map<string, ReadSample[]>();
  for (const sample of samples) {
    const labels = [...sample.labels].filter(([label]) => label !== "le").toSorted();
    const key = JSON.stringify(labels);
    series.set(key, [...(series.get(key) ?? []), sample]);
  }
  for (const [key, members] of series) {
    const buckets = members.filter((sample) => sample.name === `${name}_bucket`);
    const bounds = buckets.map((sample) =>
      sample.labels.get("le") === "+Inf" ? Number.POSITIVE_INFINITY : Number(sample.labels.get("le") ?? "NaN"),
    );
    const rising = bounds.every((bound, index) => index === 0 || bound > (bounds[index - 1] ?? Number.NaN));
    const growing = buckets.every(
      (bucket, index) => index === 0 || bucket.value >= (buckets[index - 1]?.value ?? Number.NaN),
    );
    if (!rising || !growing || bounds.at(-1) !== Number.POSITIVE_INFINITY)
      throw new Error(`buckets of ${name}${key} are not cumulative up to +Inf`);
    const count = members.filter((sample) => sample.name === `${name}_count`);
    const sum = members.filter((sample) => sample.name === `${name}_sum`);
    if (count.length !== 1 || sum.length !== 1 || count[0]?.value !== buckets.at(-1)?.value)
      throw new Error(`sum or count of ${name}${key} is missing or wrong`);
  }
}

export interface Named {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly labels: readonly string[];
}

const foreignUnits = new Set([
  "milliseconds", "microseconds", "nanoseconds", "minutes", "hours", "days", "kilobytes", "megabytes", "gigabytes", "bits",
  "percent", "percents", "ms", "us", "ns", "sec", "secs", "min", "mins", "kb", "mb", "gb",
]); // prettier-ignore

/** What `promtool check metrics` would say about a name; empty when nothing. */
export function lint({ name, help, type, labels }: Named): readonly string[] {
  const found: string[] = [];
  const words = name.split("_");
  const say = (wrong: boolean, what: string) => {
    if (wrong) found.push(what);
  };
  say(help.trim() === "", "no help text");
  say(!/^[a-z][a-z0-9]*(?:_[a-z0-9]+)*$/u.test(name), "name is not snake_case, or holds a colon");
  say(type === "counter" && !name.endsWith("_total"), "a counter should end in _total");
  say(type !== "counter" && name.endsWith("_total"), "only a counter may end in _total");
  say(
    type !== "histogram" && /_(?:bucket|sum|count)$/u.test(name),
    "only a histogram may end in _bucket, _sum or _count",
  );
  say(
    type === "histogram" && /_(?:bucket|sum|count)$/u.test(name),
    "a histogram's own name must not end in a suffix of its samples",
  );
  say(
    words.some((word) => ["counter", "gauge", "histogram", "summary"].includes(word)),
    "the name holds a metric's type",
  );
  say(
    words.some((word) => foreignUnits.has(word)),
    "the unit is not a base unit",
  );
  say(type === "histogram" && labels.includes("le"), "le is the histogram's own label");
  for (const label of labels) {
    say(!/^[a-z][a-z0-9]*(?:_[a-z0-9]+)*$/u.test(label), `label ${label} is not snake_case`);
  }
  return found;
}
