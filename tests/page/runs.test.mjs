import assert from "node:assert/strict";
import test from "node:test";
import { page } from "./page_scripts.mjs";

const RAN = 1;
const WAITED = 2;
const HELD_GIL = 4;
const WAITED_FOR_GIL = 8;
const COLLECTED = 16;
const NOT_SAMPLED = 32;

/** Packs runs, each [flags, stack, wall, cpu, runnable], as thread_time.py does. */
function packed(runs) {
  const bytes = [];
  const write = (number) => {
    for (; number > 127; number = Math.floor(number / 128)) bytes.push((number % 128) | 128);
    bytes.push(number);
  };
  let before = 0;
  for (const [flags, stack, wall, cpu = 0, runnable = 0] of runs) {
    const isUsed = cpu > 0 || runnable > 0;
    bytes.push(isUsed ? flags | 64 : flags);
    write(stack >= before ? 2 * (stack - before) : 2 * (before - stack) - 1);
    before = stack;
    write(wall);
    if (isUsed) [cpu, runnable].forEach(write);
  }
  return Buffer.from(bytes).toString("base64");
}

const HOUR = 3.6e9;
const RUNS = [
  [RAN | HELD_GIL, 3, 1000, 600, 400],
  [NOT_SAMPLED, 9, 500],
  [WAITED, 1, 2 * HOUR],
  [WAITED_FOR_GIL, 3, 300],
  [RAN, 3, 0, 50], // the kernel counts time on a CPU that no sample stands for
  [COLLECTED | RAN, 200, 200, 200],
  [0, 0, 100],
];
const END = 7000 + 1000 + 500 + 2 * HOUR + 300 + 200 + 100;

test("runs are read as they were packed, however long they are", () => {
  const runs = new page.Runs(packed(RUNS), 7000);
  assert.equal(runs.count, RUNS.length);
  assert.equal(runs.end, END);
  assert.deepEqual([...runs.stacks.slice(0, runs.count)], RUNS.map(([, stack]) => stack));
  assert.deepEqual([...runs.cpu.slice(0, 6)], [600, 0, 0, 0, 50, 200]);
  assert.deepEqual([6999, 7000, 7999, 8000, 8500, END - 1, END].map((time) => runs.at(time)), [-1, 0, 0, 1, 2, 6, -1]);
  assert.equal(new page.Runs("", 5).at(5), -1);
});

test("a stretch of time has the time of its runs, and stretches that meet add up to the whole", () => {
  const runs = new page.Runs(packed(RUNS), 7000);
  const places = new Int32Array(201);
  const timeOf = (begin, end) => {
    const { stacks, weights } = runs.during(begin, end, places);
    assert.ok(places.every((place) => place === 0));
    return Object.fromEntries(Object.entries(weights).map(([mode, column]) => [
      mode, Object.fromEntries([...stacks].map((stack, place) => [stack, column[place]])),
    ]));
  };
  const whole = timeOf(0, END);
  assert.deepEqual(whole.wall, { 0: 100, 1: 2 * HOUR, 3: 1300, 9: 500, 200: 200 });
  assert.deepEqual(whole.cpu, { 0: 0, 1: 0, 3: 650, 9: 0, 200: 200 });
  assert.deepEqual(whole.gil, { 0: 0, 1: 0, 3: 1000, 9: 0, 200: 0 });
  assert.deepEqual(whole.waits, { 0: 0, 1: 2 * HOUR, 3: 0, 9: 0, 200: 0 });
  assert.deepEqual(timeOf(7250, 7500).runnable, { 3: 100 });
  for (const cut of [7001, 7250, 8000, 8500 + HOUR, 8500 + 2 * HOUR + 300, END - 1]) {
    const [before, after] = [timeOf(0, cut), timeOf(cut, END)];
    for (const [mode, times] of Object.entries(whole)) {
      for (const [stack, time] of Object.entries(times)) {
        assert.ok(Math.abs((before[mode][stack] || 0) + (after[mode][stack] || 0) - time) < 1e-3, `${mode} ${stack} ${cut}`);
      }
    }
  }
});

test("columns have the time of each state, and all of it", () => {
  const runs = new page.Runs(packed(RUNS), 7000);
  const states = (begin, end, columns) => {
    const times = runs.states(begin, end, columns);
    return Array.from({ length: columns }, (_, column) => Object.fromEntries(page.STATES
      .map(({ state }, index) => [state, times[column * page.STATES.length + index]])
      .filter(([, time]) => time > 0)));
  };
  assert.deepEqual(states(6000, 9000, 3), [{}, { running: 600, runnable: 400 }, { gap: 500, waiting: 500 }]);
  assert.deepEqual(states(END - 600, END, 2), [{ gil: 300 }, { gc: 200, unknown: 100 }]);
  assert.deepEqual(states(END, END + 10, 1), [{}]);
  const all = states(0, END, 37).flatMap((times) => Object.values(times)).reduce((sum, time) => sum + time, 0);
  assert.ok(Math.abs(all - (END - 7000)) < 1);
});
