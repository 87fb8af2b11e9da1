/** Charts as SVG text: bars in groups and lines, on a linear or a logarithmic scale. */

const width = 760;
const height = 340;
const margin = { top: 46, right: 20, bottom: 74, left: 64 };
const plotWidth = width - margin.left - margin.right;
const plotHeight = height - margin.top - margin.bottom;

/** Told apart by people who see colours differently (Okabe and Ito). */
const colours = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999999", "#f0e442"];

export interface Series {
  readonly name: string;
  /** null: nothing to show. */
  readonly values: readonly (number | null)[];
}

export interface Chart {
  readonly title: string;
  readonly yLabel: string;
  readonly xLabel: string;
  readonly x: readonly string[];
  readonly series: readonly Series[];
  readonly scale: "linear" | "log";
}

interface Scale {
  readonly y: (value: number) => number;
  readonly ticks: readonly number[];
}

export function barChart(chart: Chart): string {
  const scale = scaleOf(chart);
  const groupWidth = plotWidth / chart.x.length;
  const barWidth = (groupWidth * 0.8) / chart.series.length;
  const bars = chart.series.flatMap((series, row) =>
    series.values.map((value, column) => {
      if (value === null) return "";
      const x = margin.left + column * groupWidth + groupWidth * 0.1 + row * barWidth;
      const top = scale.y(value);
      const label = `${series.name}, ${chart.x[column]}: ${short(value)}`;
      return `<rect x="${px(x)}" y="${px(top)}" width="${px(barWidth * 0.92)}" height="${px(margin.top + plotHeight - top)}" fill="${colourOf(row)}"><title>${escape(label)}</title></rect>`;
    }),
  );
  return page(chart, scale, [...bars, ...xLabels(chart, groupWidth, groupWidth / 2, 1)]);
}

export function lineChart(chart: Chart): string {
  const scale = scaleOf(chart);
  const step = plotWidth / Math.max(1, chart.x.length - 1);
  const lines = chart.series.map((series, row) => {
    const points = series.values.flatMap((value, column) =>
      value === null ? [] : [`${px(margin.left + column * step)},${px(scale.y(value))}`],
    );
    return `<polyline points="${points.join(" ")}" fill="none" stroke="${colourOf(row)}" stroke-width="2"><title>${escape(series.name)}</title></polyline>`;
  });
  const every = Math.ceil(chart.x.length / 16);
  return page(chart, scale, [...lines, ...xLabels(chart, step, 0, every)]);
}

function page(chart: Chart, scale: Scale, body: readonly string[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="11" role="img">`,
    `<title>${escape(chart.title)}</title>`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    text(margin.left, 18, chart.title, "start", ' font-size="14"'),
    ...legend(chart.series),
    ...scale.ticks.flatMap((tick) => [
      `<line x1="${margin.left}" x2="${width - margin.right}" y1="${px(scale.y(tick))}" y2="${px(scale.y(tick))}" stroke="#dddddd"/>`,
      text(margin.left - 6, scale.y(tick) + 4, short(tick), "end"),
    ]),
    `<g transform="translate(14 ${margin.top + plotHeight / 2}) rotate(-90)">${text(0, 0, chart.yLabel, "middle")}</g>`,
    ...body,
    text(margin.left + plotWidth / 2, height - 8, chart.xLabel, "middle"),
    "</svg>",
    "",
  ].join("\n");
}

function legend(series: readonly Series[]): string[] {
  let x = margin.left;
  return series.flatMap(({ name }, row) => {
    const at = x;
    x += 24 + name.length * 6.2;
    return [
      `<rect x="${px(at)}" y="27" width="10" height="10" fill="${colourOf(row)}"/>`,
      text(at + 14, 36, name, "start"),
    ];
  });
}

function xLabels(chart: Chart, step: number, offset: number, every: number): string[] {
  const slanted = chart.x.some((label) => label.length * 6 > step * every);
  return chart.x.flatMap((label, column) => {
    if (column % every !== 0) return [];
    const x = margin.left + column * step + offset;
    const y = margin.top + plotHeight + 14;
    if (!slanted) return [text(x, y, label, "middle")];
    return [`<g transform="translate(${px(x)} ${y}) rotate(-28)">${text(0, 0, label, "end")}</g>`];
  });
}

function scaleOf(chart: Chart): Scale {
  const values = chart.series.flatMap((series) =>
    series.values.filter((value) => value !== null && value > 0),
  ) as number[];
  const highest = Math.max(...values, Number.MIN_VALUE);
  const place = (share: number): number => margin.top + plotHeight * (1 - Math.min(1, Math.max(0, share)));
  if (chart.scale === "linear") {
    const step = niceStep(highest);
    const top = Math.ceil(highest / step) * step;
    const ticks = Array.from({ length: Math.round(top / step) + 1 }, (_, index) => index * step);
    return { y: (value) => place(value / top), ticks };
  }
  const low = Math.floor(Math.log10(Math.min(...values)));
  const high = Math.max(low + 1, Math.ceil(Math.log10(highest)));
  const ticks = Array.from({ length: high - low + 1 }, (_, index) => 10 ** (low + index));
  return { y: (value) => (value <= 0 ? place(0) : place((Math.log10(value) - low) / (high - low))), ticks };
}

/** 1, 2 or 5 times a power of ten, so that there are four to ten of them. */
function niceStep(highest: number): number {
  const power = 10 ** Math.floor(Math.log10(highest));
  const lead = highest / power;
  if (lead <= 2) return power / 5;
  return lead <= 5 ? power / 2 : power;
}

function text(x: number, y: number, content: string, anchor: string, attributes = ""): string {
  return `<text x="${px(x)}" y="${px(y)}" text-anchor="${anchor}" fill="#222222"${attributes}>${escape(content)}</text>`;
}

function colourOf(row: number): string {
  return colours[row % colours.length]!;
}

function px(value: number): string {
  return String(Math.round(value * 10) / 10);
}

/** Three significant digits, in thousands and millions where that is shorter. */
export function short(value: number): string {
  const digits = (number: number): string => String(Number(number.toPrecision(3)));
  if (Math.abs(value) >= 1e6) return `${digits(value / 1e6)}M`;
  return Math.abs(value) >= 1e4 ? `${digits(value / 1e3)}k` : digits(value);
}

function escape(content: string): string {
  return content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
