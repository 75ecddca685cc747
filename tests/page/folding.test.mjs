import assert from "node:assert/strict";
import test from "node:test";
import { boxes, callTree, recordingOf } from "./page_scripts.mjs";

test("the start of threads and the import machinery are folded, and can be shown", () => {
  const recording = recordingOf({
    "threading/Thread._bootstrap;threading/Thread.run;main;frozen/_find_and_load;module": 3,
    "threading/Thread._bootstrap;threading/Thread.run;main;frozen/_find_and_load": 2,
  });
  assert.deepEqual(boxes(callTree(recording)), { main: [5, 2, { module: [3, 3, {}] }] });
  assert.deepEqual(boxes(callTree(recording, { machinery: true })), {
    "Thread._bootstrap": [5, 0, { "Thread.run": [5, 0, { main: [5, 0, { _find_and_load: [5, 2, { module: [3, 3, {}] }] }] }] }],
  });
});

test("only my code: libraries are part of their callers, and what my code waits for stays", () => {
  const recording = recordingOf({ "main;queue/get;key": 4, "main;queue/get;wait/<waiting: lock>": 3, "main;queue/get": 2 });
  assert.deepEqual(boxes(callTree(recording, { onlyMine: true })), {
    main: [9, 2, { key: [4, 4, {}], "<waiting: lock>": [3, 3, {}] }],
  });
});

test("time without any of my code keeps the outermost name of a library", () => {
  const recording = recordingOf({
    "threading/_bootstrap;queue/serve;queue/get": 2, "threading/_bootstrap;queue/serve;wait/<waiting: socket>": 3, "threading/_bootstrap": 1,
  });
  assert.deepEqual(boxes(callTree(recording, { onlyMine: true })), {
    serve: [5, 2, { "<waiting: socket>": [3, 3, {}] }], _bootstrap: [1, 1, {}],
  });
});

test("lines are those of a box's own function, not of what is folded into it", () => {
  const tree = callTree(recordingOf({ "main:5;queue/get:80": 4, "main:6": 1 }), { onlyMine: true });
  const [main] = tree.children(0);
  assert.deepEqual(tree.lines(main), [[5, 4], [6, 1]]);
});

test("idle time is left out, or one box; per thread if threads are roots", () => {
  const recording = recordingOf({ "main;work": 5, "main;select": { wall: 7, idle: 6 } }, { "main;get": { wall: 10, idle: 10 } });
  assert.deepEqual(boxes(callTree(recording)), { main: [6, 0, { work: [5, 5, {}], select: [1, 1, {}] }] });
  const shown = callTree(recording, { idle: true, threadRoots: true });
  assert.deepEqual(boxes(shown), {
    "thread 0": [12, 0, { idle: [6, 6, {}], main: [6, 0, { work: [5, 5, {}], select: [1, 1, {}] }] }],
    "thread 1": [10, 0, { idle: [10, 10, {}] }],
  });
  assert.deepEqual(recording.threads.map((thread) => [thread.time, thread.totals.wall, thread.idleIn("wall")]), [[12, 6, 6], [10, 0, 10]]);
});
