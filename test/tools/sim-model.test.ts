import { describe, expect, it } from "vitest";
import { seededRng } from "../../src/shared/rng.ts";
import { cities, distanceKm, roundTripMs } from "../../sim/cities.ts";
import { clampedLogNormal, constant, exponential, truncatedNormal } from "../../sim/distribution.ts";
import { barChart, lineChart, type Chart } from "../../sim/plot.ts";
import { Server, type Discipline } from "../../sim/server.ts";
import { Timeline } from "../../sim/timeline.ts";

describe("virtual time", () => {
  it("lets things happen in the order of their times, and of their planning where these are equal", () => {
    const timeline = new Timeline();
    const seen: string[] = [];
    for (const [atMs, name] of [
      [5, "c"],
      [1, "a"],
      [5, "d"],
      [3, "b"],
      [9, "late"],
    ] as const) {
      timeline.at(atMs, () => seen.push(`${name}@${timeline.nowMs}`));
    }
    timeline.run(8);
    expect(seen).toEqual(["a@1", "b@3", "c@5", "d@5"]);
    expect(timeline.nowMs).toBe(8);
  });

  it("takes a time that has passed for now", () => {
    const timeline = new Timeline();
    timeline.run(10);
    let atMs = 0;
    timeline.at(3, () => (atMs = timeline.nowMs));
    timeline.run(20);
    expect(atMs).toBe(10);
  });
});

describe("distributions", () => {
  it.each([
    ["truncated normal", truncatedNormal(70)],
    ["clamped log-normal", clampedLogNormal(25_000, 1, 3_000, 600_000)],
    ["constant", constant(5)],
  ])("have the mean that they state: %s", (_name, distribution) => {
    const rng = seededRng(1);
    let sum = 0;
    for (let draw = 0; draw < 200_000; draw += 1) sum += distribution.draw(rng);
    expect(sum / 200_000 / distribution.mean).toBeCloseTo(1, 2);
  });
});

/** Mean time in the system of Poisson arrivals with exponential work of mean 1 at one server. */
function meanSojourn(discipline: Discipline, load: number, requests: number): number {
  const timeline = new Timeline();
  const server = new Server({ name: "s", discipline, speed: 1 }, timeline);
  const rng = seededRng(42);
  let sum = 0;
  let served = 0;
  const next = (left: number): void => {
    if (left === 0) return;
    timeline.after(exponential(1 / load, rng), () => {
      const startMs = timeline.nowMs;
      server.submit(exponential(1, rng), () => {
        sum += timeline.nowMs - startMs;
        served += 1;
      });
      next(left - 1);
    });
  };
  next(requests);
  timeline.run(Infinity);
  expect(served).toBe(requests);
  return sum / served;
}

describe("servers", () => {
  it("queue as M/M/1 does, first in first out: 1 / (1 − load)", () => {
    expect(meanSojourn({ kind: "fifo", slots: 1 }, 0.7, 200_000) * 0.3).toBeCloseTo(1, 1);
  });

  it("share as M/M/1 does with processor sharing: 1 / (1 − load)", () => {
    expect(meanSojourn({ kind: "sharing", cores: 1 }, 0.7, 200_000) * 0.3).toBeCloseTo(1, 1);
  });

  it("queue as M/M/2 does: 1 / (1 − ρ²)", () => {
    expect(meanSojourn({ kind: "fifo", slots: 2 }, 1.4, 200_000) * (1 - 0.7 ** 2)).toBeCloseTo(1, 1);
  });

  it("change their speed for what they are working on", () => {
    const timeline = new Timeline();
    const server = new Server({ name: "s", discipline: { kind: "fifo", slots: 1 }, speed: 1 }, timeline);
    let endMs = 0;
    server.submit(100, () => (endMs = timeline.nowMs));
    timeline.at(50, () => (server.speed = 0.1));
    timeline.run(Infinity);
    expect(endMs).toBeCloseTo(550, 6);
  });

  it("lose what they were working on when they die, and forget what is taken away", () => {
    const timeline = new Timeline();
    const server = new Server({ name: "s", discipline: { kind: "fifo", slots: 1 }, speed: 1 }, timeline);
    const ends: string[] = [];
    const takeAway = server.submit(10, (how) => ends.push(`first ${how}`));
    server.submit(10, (how) => ends.push(`second ${how}`));
    takeAway();
    timeline.at(5, () => (server.dead = true));
    timeline.run(100);
    expect(ends).toEqual(["second lost"]);
    expect(server.inFlight).toBe(0);
  });
});

describe("the globe's distances", () => {
  const city = (code: string) => cities.find((one) => one.code === code)!;

  it("are those of 300 different places", () => {
    expect(new Set(cities.map((one) => one.code)).size).toBe(300);
  });

  it("are great circles: London to Hong Kong 9,650 km, Frankfurt to New York 6,200 km", () => {
    expect(distanceKm(city("LHR"), city("HKG")) / 9650).toBeCloseTo(1, 1.5);
    expect(distanceKm(city("FRA"), city("EWR")) / 6200).toBeCloseTo(1, 1.5);
    expect(roundTripMs(city("FRA"), city("FRA"))).toBe(2);
  });
});

describe("charts", () => {
  const chart: Chart = {
    title: "a < b & c",
    xLabel: "x",
    yLabel: "y",
    x: ["one", "two"],
    series: [
      { name: "first", values: [1, 1000] },
      { name: "second", values: [null, 10] },
    ],
    scale: "log",
  };

  it("draw a bar for every value, in proportion to its logarithm, and none for a missing one", () => {
    const heights = [...barChart(chart).matchAll(/height="([\d.]+)" fill="#[^"]+"><title>/g)].map(([, height]) =>
      Number(height),
    );
    expect(heights).toHaveLength(3);
    const [one, thousand, ten] = heights as [number, number, number];
    expect(one).toBe(0);
    expect(ten / thousand).toBeCloseTo(1 / 3, 2);
  });

  it("escape what they write", () => {
    expect(lineChart(chart)).toContain("a &lt; b &amp; c");
    expect(lineChart(chart)).not.toContain("a < b");
  });
});
