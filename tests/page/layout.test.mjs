import assert from "node:assert/strict";
import test from "node:test";
import { callTree, page, recordingOf } from "./page_scripts.mjs";

test("boxes have the width of their time and stand below their callers", () => {
  const tree = callTree(recordingOf({ "main;work": 600, "main;idle": 300, other: 100 }));
  const rows = page.layOut(tree, 0, 1000);
  assert.deepEqual(rows.map((row) => row.width), [[1000], [900, 100], [600, 300]]);
  assert.deepEqual(rows.map((row) => row.x), [[0], [0, 900], [0, 600]]);
  assert.equal(tree.label(rows[2].node[rows[2].at(700)]).name, "idle");
  assert.equal(rows[2].at(950), -1);
  assert.equal(rows[1].at(-1), -1);
});

test("a zoomed box and its callers take the full width", () => {
  const tree = callTree(recordingOf({ "main;work;sort": 600, "main;idle": 400 }));
  const [main] = tree.children(0);
  const [work] = tree.children(main);
  assert.deepEqual(page.layOut(tree, work, 500).map((row) => row.width), [[500], [500], [500], [500]]);
});

test("boxes that are too narrow become one, and nothing below them is laid out", () => {
  const many = Object.fromEntries(Array.from({ length: 2000 }, (_, index) => [`main;f${index};g`, 1]));
  const rows = page.layOut(callTree(recordingOf(many)), 0, 1000);
  assert.deepEqual(rows[2].node, [-1]);
  assert.ok(Math.abs(rows[2].width[0] - 1000) < 1e-6);
  assert.equal(rows.length, 3);
});

test("an empty recording has one row", () => {
  assert.equal(page.layOut(callTree(recordingOf({})), 0, 1000).length, 1);
});

test("numbers in words", () => {
  assert.equal(page.formatTime(0), "0 s");
  assert.equal(page.formatTime(999), "999 µs");
  assert.equal(page.formatTime(1500), "1.5 ms");
  assert.equal(page.formatTime(2_500_000), "2.50 s");
  assert.equal(page.formatTime(125e6), "2 min 5 s");
  assert.equal(page.formatShare(0, 0), "0 %");
  assert.equal(page.formatShare(1, 1e6), "< 0.01 %");
  assert.equal(page.formatShare(1, 200), "0.50 %");
  assert.equal(page.formatShare(1, 3), "33.3 %");
});

test("equal names have equal colours, and what is not found is paler", () => {
  const palette = new page.Palette("light");
  const label = { index: 1, name: "main", kind: "python" };
  assert.equal(palette.box(label, false), new page.Palette("light").box({ ...label, index: 7 }, false));
  assert.notEqual(palette.box(label, false), palette.box(label, true));
  assert.equal(palette.box(null, false), palette.all);
});
