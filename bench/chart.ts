/** A bar chart as SVG: one bar for each case, a whisker from the least to the most of its rounds. */

export interface Bar {
  readonly label: string;
  readonly min: number;
  readonly median: number;
  readonly max: number;
  readonly isProduct: boolean;
}

const left = 210;
const width = 760;
const rowHeight = 26;
const top = 34;
const plot = width - left - 70;

export function barChart(title: string, unit: string, bars: readonly Bar[]): string {
  const most = Math.max(...bars.map((bar) => bar.max));
  const x = (value: number): number => left + (value / most) * plot;
  const rows = bars.map((bar, index) => row(bar, top + index * rowHeight, x, unit));
  const height = top + bars.length * rowHeight + 12;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="13" role="img" aria-label="${escaped(title)}">
<rect width="${width}" height="${height}" fill="#ffffff"/>
<text x="12" y="20" font-weight="bold" fill="#1f2328">${escaped(title)}</text>
${rows.join("\n")}
</svg>
`;
}

function row(bar: Bar, y: number, x: (value: number) => number, unit: string): string {
  const middle = y + rowHeight / 2;
  const points = (value: number): string => x(value).toFixed(1);
  return [
    `<text x="${left - 8}" y="${middle + 4}" text-anchor="end" fill="#1f2328">${escaped(bar.label)}</text>`,
    `<rect x="${left}" y="${y + 4}" width="${(x(bar.median) - left).toFixed(1)}" height="${rowHeight - 8}" fill="${bar.isProduct ? "#2f6fde" : "#b7bdc8"}"/>`,
    `<path d="M${points(bar.min)} ${middle}H${points(bar.max)}" stroke="#1f2328" stroke-width="1.5"/>`,
    `<text x="${(x(bar.max) + 6).toFixed(1)}" y="${middle + 4}" fill="#1f2328">${bar.median.toFixed(0)} ${unit}</text>`,
  ].join("");
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}
