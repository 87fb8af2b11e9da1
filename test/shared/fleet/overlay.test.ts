import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { BackendConfig } from "../../../src/shared/config/config.ts";
import { backendDefaults } from "../../../src/shared/config/defaults.ts";
import {
  emptyOverlay,
  layOver,
  patchableFields,
  withAdded,
  withPatch,
  without,
  withState,
} from "../../../src/shared/fleet/overlay.ts";

function backend(name: string, given: Partial<BackendConfig> = {}): BackendConfig {
  return { ...backendDefaults, name, url: `https://${name}.example.com`, ...given };
}

const configured = [backend("a", { weight: 3 }), backend("b")];

describe("operators' changes", () => {
  test("lie over the configuration and leave it as it is", () => {
    const overlay = withPatch(emptyOverlay, configured[0]!, { weight: 7, maxInFlight: 4 });
    const { backends, ended } = layOver(configured, overlay);
    expect(backends[0]).toMatchObject({ weight: 7, maxInFlight: 4, priority: 1 });
    expect(backends[1]).toEqual(configured[1]);
    expect(ended).toEqual([]);
    expect(configured[0]!.weight).toBe(3);
  });

  test("end when the configured value itself changes, and say so; other fields stand", () => {
    const overlay = withPatch(emptyOverlay, configured[0]!, { weight: 7, region: "eu" });
    const { backends, ended, overlay: left } = layOver([backend("a", { weight: 5 })], overlay);
    expect(backends[0]).toMatchObject({ weight: 5, region: "eu" });
    expect(ended).toEqual([{ backend: "a", field: "weight", reason: "configured_value_changed" }]);
    expect(left.patches["a"]).toEqual({ region: { value: "eu", over: "default" } });
  });

  test("leave with a backend that leaves BACKEND_SERVERS", () => {
    const overlay = withState(withPatch(emptyOverlay, configured[1]!, { weight: 9 }), "b", "draining");
    const { backends, ended, overlay: left } = layOver([configured[0]!], overlay);
    expect(backends.map(({ name }) => name)).toEqual(["a"]);
    expect(left).toEqual(emptyOverlay);
    expect(ended.map(({ field, reason }) => [field, reason])).toEqual([
      ["state", "backend_left"],
      ["weight", "backend_left"],
    ]);
  });

  test("keep an added backend until the configuration names it itself", () => {
    const overlay = withAdded(emptyOverlay, backend("c", { weight: 2 }));
    expect(layOver(configured, overlay).backends.map(({ name }) => name)).toEqual(["a", "b", "c"]);
    const later = layOver([...configured, backend("c", { weight: 8 })], overlay);
    expect(later.backends[2]).toMatchObject({ name: "c", weight: 8 });
    expect(later.ended).toEqual([{ backend: "c", field: "added", reason: "now_configured" }]);
    expect(later.overlay.added).toEqual([]);
  });

  test("forget an added backend with everything said of it", () => {
    const added = withState(withAdded(emptyOverlay, backend("c")), "c", "disabled");
    expect(without(added, "c")).toEqual(emptyOverlay);
  });

  test("that give a field its configured value back leave nothing behind", () => {
    const changed = withPatch(emptyOverlay, configured[0]!, { weight: 7 });
    const back = withPatch(changed, configured[0]!, { weight: 3 });
    expect(layOver(configured, back).overlay).toEqual(emptyOverlay);
    expect(withState(withState(emptyOverlay, "a", "draining"), "a", "active")).toEqual(emptyOverlay);
  });

  test("laid over twice are as laid over once, whatever they are", () => {
    const patch = fc.record({
      weight: fc.nat(9),
      priority: fc.nat(9),
      region: fc.constantFrom("x", "y"),
      maxInFlight: fc.option(fc.nat(9)),
    });
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom("a", "b", "gone"), patch), fc.nat(9), (patches, weight) => {
        let overlay = emptyOverlay;
        for (const [name, values] of Object.entries(patches)) overlay = withPatch(overlay, backend(name), values);
        const now = [backend("a", { weight }), backend("b")];
        const once = layOver(now, overlay);
        const twice = layOver(now, once.overlay);
        expect(twice.backends).toEqual(once.backends);
        expect(twice.ended).toEqual([]);
        for (const field of patchableFields) {
          const standing = once.overlay.patches["a"]?.[field];
          expect(once.backends[0]![field]).toBe(standing === undefined ? now[0]![field] : standing.value);
        }
      }),
    );
  });
});
