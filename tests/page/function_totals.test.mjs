import assert from "node:assert/strict";
import test from "node:test";
import { callTree, page, recordingOf, visibleStacks } from "./page_scripts.mjs";

function totalsOf(recording, options = {}) {
  return page.finish(page.FunctionTotals.made(callTree(recording, options), visibleStacks(recording, options), recording.threads, "wall"));
}

function rowsOf(totals) {
  return Object.fromEntries(totals.rows().map(({ label, self, total, gil, waits }) => [label.name, [self, total, gil, waits]]));
}

test("functions have self and total times, and of the self time what held the GIL and what waited", () => {
  const recording = recordingOf(
    { "main;work": { wall: 5, gil: 4 }, "main;work;wait/<waiting: lock>": { wall: 3, waits: 3 }, "main;work;gc/<garbage collection>": 2 },
    { "main;work": { wall: 1, gil: 1 } },
  );
  assert.deepEqual(rowsOf(totalsOf(recording)), {
    main: [0, 11, 0, 0], work: [9, 11, 5, 3], "<garbage collection>": [2, 2, 0, 0],
  });
});

test("recursion counts once, and what is folded belongs to its caller", () => {
  const recording = recordingOf({ "fib;fib;fib": 5, "fib;queue/get": 2 });
  assert.deepEqual(rowsOf(totalsOf(recording)), { fib: [5, 7, 0, 0], get: [2, 2, 0, 0] });
  assert.deepEqual(rowsOf(totalsOf(recording, { onlyMine: true })), { fib: [7, 7, 0, 0] });
});

test("callers and callees, each stack once", () => {
  const recording = recordingOf({ "main;walk;visit;walk;visit": 4, "main;walk;sort": 3, "other;walk": 2, walk: 1 });
  const calls = callTree(recording);
  const { callers, callees } = page.finish(page.neighboursOf(calls, recording.labels.find((label) => label.name === "walk")));
  const named = (times) => times.map(({ label, time }) => [label && label.name, time]);
  assert.deepEqual(named(callers), [["main", 7], ["visit", 4], ["other", 2], [null, 1]]);
  assert.deepEqual(named(callees), [["visit", 4], ["sort", 3]]);
});

test("very deep stacks", () => {
  const deep = recordingOf({ [Array.from({ length: 2000 }, () => "down").join(";")]: 3 });
  assert.deepEqual(rowsOf(totalsOf(deep)), { down: [3, 3, 0, 0] });
});

test("per cents are of the recording's time or of one thread's, and more is a number of threads", () => {
  const recording = recordingOf({ main: 100 }, { main: 50 }, { main: 50 });
  const all = page.Base.of(recording, new Set([0, 1, 2]));
  assert.equal(all.share(50), "50.0 %");
  assert.equal(all.share(100), "100.0 %");
  assert.equal(all.share(200), "2.0 threads");
  const one = page.Base.of(recording, new Set([1]));
  assert.equal(one.share(50), "100.0 %");
  assert.equal(one.explanation, "100 % = the time of thread 1, 50 µs");
});
