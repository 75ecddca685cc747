import assert from "node:assert/strict";
import test from "node:test";
import { callTree, page, recordingOf } from "./page_scripts.mjs";

function linesOf(recording, name) {
  const label = recording.labels.find((one) => one.name === name);
  return page.finish(page.lineTimes(callTree(recording), label)).map(([line, { self, total }]) => [line, self, total]);
}

test("a line has the time in it and in what it called; recursion counts once", () => {
  const recording = recordingOf({
    "main:1;fib:5": 1, "main:1;fib:5;fib:6": 2, "main:1;fib:5;fib:5;fib:6": 4, "main:2;fib:7;sort:1": 8, "main:2": 16,
  });
  assert.deepEqual(linesOf(recording, "fib"), [[5, 1, 7], [6, 6, 6], [7, 0, 8]]);
  assert.deepEqual(linesOf(recording, "main"), [[1, 0, 7], [2, 16, 24]]);
});

test("a function can have very many lines", () => {
  const weights = Object.fromEntries(Array.from({ length: 100 }, (_, line) => [`f:${line + 1};g:1`, line + 1]));
  const recording = recordingOf({ ...weights, "f:3;f:90": 1000 });
  const lines = linesOf(recording, "f");
  assert.equal(lines.length, 100);
  assert.deepEqual([lines[0], lines[2], lines[89], lines[99]], [[1, 0, 1], [3, 0, 1003], [90, 1000, 1090], [100, 0, 100]]);
});

test("rows have the text that is there, and say where lines are left out", () => {
  const time = { self: 1, total: 2 };
  const blocks = [{ first: 10, text: "def f():\n    work()", changed: false }, { first: 20, text: "    end()", changed: false }];
  assert.deepEqual(page.sourceRows([[11, time], [20, time], [30, time]], blocks), [
    [10, "def f():", null], [11, "    work()", time], null, [20, "    end()", time], null, [30, null, time],
  ]);
  assert.deepEqual(page.sourceRows([[5, time]], []), [[5, null, time]]);
});
