import assert from "node:assert/strict";
import test from "node:test";
import { recordingOf } from "./page_scripts.mjs";

function firstMode({ idle, mode = "wall", modes = ["wall", "cpu", "tasks"] }) {
  const recording = recordingOf({ main: { wall: 100, idle } }, { main: { wall: 900, idle: 900 } });
  return Object.assign(recording, { modes, initial: { mode } }).firstMode;
}

test("a page of tasks begins with them if the threads were idle", () => {
  assert.equal(firstMode({ idle: 100 }), "tasks");
  assert.equal(firstMode({ idle: 0 }), "wall"); // The threads worked for 10 % of the time.
  assert.equal(firstMode({ idle: 100, modes: ["wall", "cpu"] }), "wall");
  assert.equal(firstMode({ idle: 100, mode: "cpu" }), "cpu"); // It was asked for.
});
