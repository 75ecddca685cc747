import assert from "node:assert/strict";
import test from "node:test";
import { page, recordingOf } from "./page_scripts.mjs";

const INITIAL = { mode: "wall", side: -1, threads: null, time: null, zoom: [], query: "", regex: false, functions: true };

test("a view comes back from its fragment, and the first view has none", () => {
  assert.equal(page.fragmentOf(INITIAL, INITIAL), "");
  const view = { mode: "cpu", side: 1, threads: [0, 2, 3, 4, 9], time: { begin: 5, end: 900 }, zoom: ["a1", "zz"], query: "größe & =#,%", regex: true, functions: false };
  const fragment = page.fragmentOf(view, INITIAL);
  assert.match(fragment, /^mode=cpu&side=1&threads=0,2-4,9&time=5-900&zoom=a1,zz&query=[\w%,]+&regex=true&functions=false$/);
  assert.deepEqual(page.viewOf(`#${fragment}`, INITIAL), view);
  assert.deepEqual(page.viewOf(page.fragmentOf({ ...INITIAL, threads: [] }, INITIAL), INITIAL).threads, []);
});

test("what a fragment has wrong is as at first", () => {
  assert.deepEqual(page.viewOf("#constructor=1&__proto__=2&side=x&time=9-3&query=%E0%A4%A&mode", { ...INITIAL }), { ...INITIAL, mode: "" });
  assert.equal(page.viewOf("#threads=0-999", INITIAL).threads.length, 1000);
  assert.ok(page.viewOf(`#zoom=${"a,".repeat(1000)}a`, INITIAL).zoom.length <= 300);
});

test("names of boxes do not depend on the recording", () => {
  const [one] = recordingOf({ "main;work": 1 }).labels;
  const other = recordingOf({ "first;main": 1 }).labels.find((label) => label.name === "main");
  assert.equal(page.nameOfLabel(one), page.nameOfLabel(other));
});
