import assert from "node:assert/strict";
import test from "node:test";
import { page, recordingOf } from "./page_scripts.mjs";

function* counting(to, seen, cost = 1) {
  yield* page.inChunks(0, to, (from, until) => seen.push([from, until]), cost);
  return "done";
}

test("work in chunks covers all, once", () => {
  for (const cost of [1, 3, 1000]) {
    const seen = [];
    assert.equal(page.finish(counting(40_000, seen, cost)), "done");
    assert.deepEqual([seen[0][0], seen.at(-1)[1]], [0, 40_000]);
    for (let place = 1; place < seen.length; place++) assert.equal(seen[place][0], seen[place - 1][1]);
  }
});

test("little work is done at once, long work later, and other work ends it", async () => {
  const changes = [];
  const work = new page.Work((isBusy) => changes.push(isBusy));
  let ended = "";
  function* waiting(name, steps) {
    try {
      for (let step = 0; step < steps; step++) yield 50_000;
      ended += ` ${name} done`;
    } finally {
      ended += ` ${name} ended`;
    }
  }
  work.start(waiting("short", 1));
  assert.deepEqual([ended, changes], [" short done short ended", []]);
  work.start(waiting("long", 10));
  work.start(waiting("other", 10));
  assert.deepEqual([ended, changes], [" short done short ended long ended", [true]]);
  while (work.isBusy) await new Promise((done) => setTimeout(done));
  assert.ok(ended.endsWith(" other done other ended"));
  work.start(waiting("last", 10));
  work.finish();
  assert.ok(ended.endsWith(" last done last ended"));
  assert.deepEqual(changes, [true, false, true, false]);
});

const CHOICES = {
  stretch: null, mode: "wall", threads: [0, 1], threadRoots: false, side: -1, idle: false, byLine: false, machinery: false,
  onlyMine: false, isInverted: false, functions: false, opened: null,
};

test("a picture takes from the one before what is still right", () => {
  const recording = recordingOf({ "main;work": 3 }, { main: 4 });
  const search = new page.Search(recording, "", false);
  const make = (changed, before) => page.finish(page.Picture.made(recording, { ...CHOICES, search, ...changed }, before));
  const first = make({}, null);
  assert.equal(first.tree.total(0), 7);
  assert.equal(make({}, first).calls, first.calls);
  const inverted = make({ isInverted: true }, first);
  assert.equal(inverted.calls, first.calls);
  assert.equal(inverted.tree, inverted.inverted);
  assert.equal(make({ isInverted: true }, inverted).tree, inverted.tree);
  const one = make({ threads: [1] }, first);
  assert.deepEqual([one.visible === first.visible, one.calls.total(0), one.base.time], [true, 4, 4]);
  assert.notEqual(make({ byLine: true }, first).visible, first.visible);
  const found = make({ search: new page.Search(recording, "work", false), functions: true }, first);
  assert.deepEqual([found.calls === first.calls, found.found[0], found.totals.rows().length], [true, 3, 2]);
});
