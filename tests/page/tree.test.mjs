import assert from "node:assert/strict";
import test from "node:test";
import { boxes, callTree, comparisonOf, page, recordingOf } from "./page_scripts.mjs";

function searchIn(recording, text, isRegex = false) {
  const search = new page.Search(recording, text, isRegex);
  page.finish(search.looking());
  return search;
}

test("a call tree has the sums of its stacks, the widest first", () => {
  const tree = callTree(recordingOf({ "main;work": 3, "main;work;sort": 4, "main;idle": 9 }, { "main;work": 1 }));
  assert.equal(tree.total(0), 17);
  assert.deepEqual(boxes(tree), { main: [17, 0, { idle: [9, 9, {}], work: [8, 4, { sort: [4, 4, {}] }] }] });
  assert.deepEqual([...tree.children(tree.children(0)[0])].map((node) => tree.label(node).name), ["idle", "work"]);
});

test("threads can be chosen, and can be roots", () => {
  const recording = recordingOf({ main: 3 }, { main: 4 });
  assert.deepEqual(boxes(callTree(recording, { threads: new Set([1]) })), { main: [4, 4, {}] });
  assert.deepEqual(boxes(callTree(recording, { threadRoots: true })), {
    "thread 1": [4, 0, { main: [4, 4, {}] }],
    "thread 0": [3, 0, { main: [3, 3, {}] }],
  });
});

test("by line, lines are boxes; by function, a box knows its lines", () => {
  const recording = recordingOf({ "main:1;work:5": 2, "main:1;work:7": 3, "main:2;work:5": 4 });
  assert.deepEqual(boxes(callTree(recording, { byLine: true })), {
    "main:1": [5, 0, { "work:7": [3, 3, {}], "work:5": [2, 2, {}] }],
    "main:2": [4, 0, { "work:5": [4, 4, {}] }],
  });
  const tree = callTree(recording);
  const [main] = tree.children(0);
  const [work] = tree.children(main);
  assert.deepEqual(tree.lines(main), [[1, 5], [2, 4]]);
  assert.deepEqual(tree.lines(work), [[5, 6], [7, 3]]);
});

test("an inverted tree begins with the innermost functions, and its sums are those of the tree", () => {
  const tree = callTree(recordingOf({ "main;work;sort": 4, "main;other;sort": 3, "main;work": 2 }));
  const inverted = page.finish(page.InvertedTree.made(tree));
  assert.equal(inverted.total(0), 9);
  assert.deepEqual(boxes(inverted), {
    sort: [7, 0, { work: [4, 0, { main: [4, 4, {}] }], other: [3, 0, { main: [3, 3, {}] }] }],
    work: [2, 0, { main: [2, 2, {}] }],
  });
});

test("recursion counts once in what a function and a search have in all", () => {
  const recording = recordingOf({ "main;fib;fib;fib": 5, "main;fib": 2, "main;other": 1 });
  const tree = callTree(recording);
  const fib = recording.labels.find((label) => label.name === "fib");
  assert.equal(page.weightOfLabel(tree, fib), 7);
  const search = searchIn(recording, "FIB");
  assert.ok(search.finds(fib));
  assert.equal(page.finish(search.finding(tree))[0], 7);
});

test("a search looks at paths if it has a slash, and refuses a bad expression", () => {
  const recording = recordingOf({ main: 1 });
  assert.ok(searchIn(recording, "/srv/").finds(recording.labels[0]));
  assert.ok(searchIn(recording, "m.in", true).finds(recording.labels[0]));
  assert.ok(!searchIn(recording, "m.in").finds(recording.labels[0]));
  assert.ok(new page.Search(recording, "", false).isEmpty);
  assert.throws(() => new page.Search(recording, "(", true), SyntaxError);
});

test("pairs are numbered in the order in which they come, also after the table has grown", () => {
  const pairs = new page.PairMap();
  for (let first = 0; first < 100; first++) for (let second = 0; second < 100; second++) assert.equal(pairs.add(first, second), first * 100 + second + 1);
  assert.equal(pairs.add(99, 99), 10_000);
  assert.equal(pairs.add(3, 7), 308);
});

test("a recording has the weights of all its modes", () => {
  const recording = recordingOf({ main: 3 });
  assert.deepEqual(Object.keys(recording.threads[0].weights), recording.modes);
});

/** Name, total and total of the other side of all boxes. */
function bothSides(tree, node = 0) {
  return [...tree.children(node)].flatMap((child) => [
    [tree.label(child).name, tree.total(child), tree.other(child)], ...bothSides(tree, child),
  ]);
}

test("a comparison has the times of both sides in each box, whichever is shown", () => {
  const recording = comparisonOf({ "main;old": 3, "main;work": 5 }, { "main;work": 6, "main;work;new": 1, other: 3 });
  const after = callTree(recording, { side: 1 });
  assert.deepEqual(bothSides(after), [["main", 7, 8], ["work", 7, 5], ["new", 1, 0], ["old", 0, 3], ["other", 3, 0]]);
  const before = callTree(recording, { side: 0 });
  assert.deepEqual(bothSides(before), [["main", 8, 7], ["work", 5, 7], ["new", 0, 1], ["old", 3, 0], ["other", 0, 3]]);
});

test("an inverted comparison has the times of both sides, too", () => {
  const recording = comparisonOf({ "main;work": 5, "main;old": 2 }, { "main;work": 6, "other;work": 1 });
  const inverted = page.finish(page.InvertedTree.made(callTree(recording, { side: 1 })));
  assert.equal(inverted.other(0), 7);
  assert.deepEqual(bothSides(inverted), [["work", 7, 5], ["main", 6, 5], ["other", 1, 0], ["old", 0, 2], ["main", 0, 2]]);
});

test("a change counts if it is more than chance explains", () => {
  const recording = comparisonOf({ f: 50, g: 50 }, { f: 54, g: 46 });
  const tree = callTree(recording, { side: 1 });
  const [f, g] = tree.children(0);
  const few = new page.Changes(tree, [{ samples: 100 }, { samples: 100 }], 1);
  assert.equal(few.change(f), 0);
  assert.ok(Math.abs(few.margin(f) - 1.96 * Math.sqrt((0.25 + 0.54 * 0.46) / 100)) < 1e-9);
  tree.label(f).chance = 2;
  assert.ok(Math.abs(few.margin(f) - 2 * 1.96 * Math.sqrt((0.25 + 0.54 * 0.46) / 100)) < 1e-9);
  tree.label(f).chance = 1;
  const many = new page.Changes(tree, [{ samples: 10000 }, { samples: 10000 }], 1);
  assert.ok(Math.abs(many.change(f) - 0.04) < 1e-9);
  assert.ok(Math.abs(many.change(g) + 0.04) < 1e-9);
  const shown = new page.Changes(callTree(recording, { side: 0 }), [{ samples: 10000 }, { samples: 10000 }], 0);
  assert.deepEqual(shown.shares(f), many.shares(f));
  assert.equal(page.formatPoints(0.0123), "+1.2 points");
  assert.equal(page.formatPoints(-0.005), "−0.50 points");
});
