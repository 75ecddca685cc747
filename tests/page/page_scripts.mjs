// The scripts of the page, without a page: those that know nothing of the document.

import { readFileSync } from "node:fs";
import vm from "node:vm";

const FOLDER = new URL("../../profiler/pystack_profiler/exporters/flame_page/", import.meta.url);
const SCRIPTS = [
  "words.js", "work.js", "runs.js", "recording.js", "folding.js", "base.js", "source.js", "pairs.js", "nodes.js", "tree.js", "search.js", "function_totals.js", "layout.js",
  "palette.js", "change.js", "picture.js", "view_link.js",
];
const NAMES = [
  "Recording", "Picture", "Work", "finish", "inChunks", "PairMap", "CallTree", "InvertedTree", "Search", "Row", "Palette", "layOut", "weightOfLabel", "formatTime",
  "formatShare", "undifference", "Changes", "formatPoints",
  "VisibleStacks", "Base", "FunctionTotals", "Runs", "STATES", "lineTimes", "sourceRows", "neighboursOf", "fragmentOf", "viewOf", "rangesOf", "nameOfLabel",
];

const MARKS = { wait: "", gc: "", marker: "" };
const FILES = {
  app: "/srv/app.py", queue: "/usr/lib/python3.13/queue.py", threading: "/usr/lib/python3.13/threading.py",
  frozen: "<frozen importlib._bootstrap>", ...MARKS,
};
const KINDS = ["python", "library", "interpreter", ...Object.keys(MARKS)];

const source = SCRIPTS.map((name) => readFileSync(new URL(name, FOLDER), "utf-8")).join("\n");
export const page = vm.runInThisContext(`(() => { ${source}\nreturn { ${NAMES.join(", ")} }; })()`);

/**
 * A recording of one process. `threads`: for each, pairs of a path ("main;work;sort") and its microseconds, or those of several
 * modes and of idleness: `{ wall: 5, gil: 2, idle: 3 }`. Functions are in /srv/app.py unless their name begins with the name of one of
 * FILES ("queue/get"); a function is on the line that its name has after a colon ("work:12").
 */
export function recordingOf(...threads) {
  return new page.Recording(dataOf(...threads));
}

function dataOf(...threads) {
  const strings = Object.values(FILES);
  const functions = { name: [], file: [], line: [], kind: [] };
  const frames = { function: [], line: [] };
  const stacks = { parent: [], frame: [] };
  const known = new Map();
  const numberOf = (key, make) => {
    if (!known.has(key)) known.set(key, make());
    return known.get(key);
  };
  const functionOf = (name) => numberOf(`function ${name}`, () => {
    const [, prefix = "app", plain] = /^(?:(\w+)\/)?(.*)$/.exec(name);
    functions.name.push(strings.push(plain) - 1);
    functions.file.push(Object.keys(FILES).indexOf(prefix));
    functions.line.push(1);
    functions.kind.push(KINDS.indexOf(prefix === "app" ? "python" : prefix === "frozen" ? "interpreter" : prefix in MARKS ? prefix : "library"));
    return functions.name.length - 1;
  });
  const frameOf = (text) => numberOf(`frame ${text}`, () => {
    const [, name, line] = /^(.*?)(?::(\d+))?$/.exec(text);
    frames.function.push(functionOf(name));
    frames.line.push(line === undefined ? -1 : Number(line));
    return frames.line.length - 1;
  });
  const stackOf = (path) => numberOf(`stack ${path}`, () => {
    const cut = path.lastIndexOf(";");
    const parent = cut < 0 ? 0 : stackOf(path.slice(0, cut));
    stacks.frame.push(frameOf(path.slice(cut + 1)));
    const stack = stacks.frame.length;
    stacks.parent.push(stack - parent);
    return stack;
  });
  const modes = ["wall", ...["gil", "waits"].filter((mode) => threads.some((weights) => Object.values(weights).some((weight) => mode in Object(weight))))];
  const columns = threads.map((weights, index) => {
    const pairs = Object.entries(weights).map(([path, weight]) => [stackOf(path), typeof weight === "number" ? { wall: weight } : weight]);
    pairs.sort(([one], [other]) => one - other);
    return {
      title: `thread ${index}`,
      process: 0,
      stack: pairs.map(([stack], at) => stack - (at ? pairs[at - 1][0] : 0)),
      ...Object.fromEntries([...modes, "idle"].map((mode) => [mode, pairs.map(([, weight]) => weight[mode] || 0)])),
    };
  });
  return {
    title: "t", metadata: {}, modes, initial: {}, kinds: KINDS, strings, functions, frames, stacks,
    processes: [{ title: "p" }], threads: columns,
  };
}

/** A comparison of two sides, each like the thread of a recording, with numbers of samples. */
export function comparisonOf(before, after, samples = [1000, 1000]) {
  const data = dataOf(before, after);
  data.threads.forEach((thread, side) => (thread.side = side));
  data.sides = samples.map((count, side) => ({ title: ["old", "new"][side], samples: count }));
  return new page.Recording(data);
}

/** `options`: those of VisibleStacks and of CallTree. */
export function callTree(recording, options = {}) {
  const threads = new Set(recording.threads.map((thread) => thread.index));
  const visible = visibleStacks(recording, options);
  return page.finish(page.CallTree.made(recording, { mode: "wall", threads, visible, threadRoots: false, ...options }));
}

export function visibleStacks(recording, options = {}) {
  return page.finish(page.VisibleStacks.made(recording, { byLine: false, machinery: false, onlyMine: false, ...options }));
}

/** The boxes below a node: `{ main: [total, self, { ... }] }`. */
export function boxes(tree, node = 0) {
  return Object.fromEntries(
    [...tree.children(node)].map((child) => [tree.label(child).name, [tree.total(child), tree.self(child), boxes(tree, child)]]),
  );
}
