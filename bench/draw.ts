import { urlOf } from "./peers.ts";
import type { Picture } from "./plot.ts";

/** The part of https://observablehq.com/plot that is used here. */
interface Plot {
  plot(options: Record<string, unknown>): { outerHTML: string };
  line(data: unknown, options: Record<string, unknown>): unknown;
  dot(data: unknown, options: Record<string, unknown>): unknown;
  axisX(ticks: readonly number[], options: Record<string, unknown>): unknown;
  axisY(ticks: readonly number[], options: Record<string, unknown>): unknown;
  gridX(ticks: readonly number[]): unknown;
  gridY(ticks: readonly number[]): unknown;
}

const [WIDTH, HEIGHT, TOP] = [760, 490, 108];
/** Colors that are easy to distinguish on white and on black, even for color-blind readers. */
const COLORS = ["#1f8fff", "#e8710a", "#8a8f98"];

/** Draws curves as an SVG that is readable on light and dark backgrounds. */
export async function draw({ title, x, y, grown, bytes = false }: Picture): Promise<string> {
  const { parseHTML } = await import(urlOf("linkedom"));
  const { document } = parseHTML("<!doctype html><html><body></body></html>");
  const { plot, line, dot, axisX, axisY, gridX, gridY }: Plot = await import(
    urlOf("@observablehq/plot")
  );
  const names = Object.keys(grown.lines);
  const points = Object.entries(grown.lines).flatMap(([name, line]) =>
    line.map(([point, milliseconds]) => ({ name, point, milliseconds }))
  );
  const most = Math.max(...points.map(({ point }) => point));
  const times = points.map(({ milliseconds }) => milliseconds);
  const [low, high] = [0.8 * Math.min(...times), 1.25 * Math.max(...times)];
  const across = bytes
    ? [0, 5, 10, 15, 20, 25, 30].map((power) => 2 ** power).filter((size) => size <= most)
    : steps(1, most);
  const up = steps(low, high);
  const channels = { x: "point", y: "milliseconds", stroke: "name" };
  const chart = plot({
    document,
    width: WIDTH - 20,
    height: HEIGHT - TOP,
    marginLeft: 64,
    marginRight: 40,
    marginBottom: 44,
    style: { fontSize: "13px", background: "none" },
    x: { type: "log", domain: [1, most] },
    y: { type: "log", domain: [low, high] },
    color: { domain: names, range: COLORS },
    marks: [
      gridX(across),
      gridY(up),
      axisX(across, { text: bytes ? binary : decimal, label: `${x} →` }),
      axisY(up, { text: decimal, label: `↑ ${y}` }),
      line(points, { ...channels, strokeWidth: 2.5 }),
      dot(points, { ...channels, fill: "name", r: 3.5 }),
    ],
  });
  const legend = names.map((name, i) => {
    const at = 30 + names.slice(0, i).reduce((sum, name) => sum + 36 + 7.4 * name.length, 0);
    return `<circle cx="${at}" cy="58" r="5" fill="${COLORS[i]}"/>` +
      `<text x="${at + 11}" y="62.5" font-size="13">${escape(name)}</text>`;
  });
  const ends = Object.entries(grown.ends).map(([name, end]) => `${name}: ${end}`).join("; ");
  if (ends !== "") {
    const note = `Lines that end early. ${ends}`;
    legend.push(`<text x="24" y="84" font-size="12" opacity="0.8">${escape(note)}</text>`);
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" ` +
    `width="${WIDTH}" height="${HEIGHT}" font-family="system-ui, sans-serif" role="img">
<title>${escape(title)}</title>
<style>
  svg { color: #1f2328; fill: #1f2328 }
  .ground { fill: #ffffff }
  @media (prefers-color-scheme: dark) {
    svg { color: #e6edf3; fill: #e6edf3 }
    .ground { fill: #0d1117 }
  }
</style>
<rect class="ground" width="100%" height="100%" rx="8"/>
<text x="24" y="32" font-size="17" font-weight="600">${escape(title)}</text>
${legend.join("\n")}
<g transform="translate(10 ${TOP - 12})">
${chart.outerHTML}
</g>
</svg>
`;
}

/** The powers of ten, plus twice and five times each power if there are only a few. */
function steps(from: number, to: number): number[] {
  const factors = to / from > 1_000 ? [1] : [1, 2, 5];
  const found: number[] = [];
  for (let power = Math.floor(Math.log10(from)); 10 ** power <= to; power++) {
    found.push(...factors.map((factor) => factor * 10 ** power));
  }
  return found.filter((step) => step >= from * 0.999 && step <= to * 1.001);
}

function decimal(value: number): string {
  return value.toLocaleString("en", { maximumSignificantDigits: 3 });
}

function binary(value: number): string {
  const units = ["B", "KiB", "MiB", "GiB"];
  const power = Math.floor(Math.log2(value) / 10);
  return `${value / 2 ** (10 * power)} ${units[power]}`;
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}
