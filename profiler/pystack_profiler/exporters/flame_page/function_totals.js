// The functions of a call tree: their times, and those of their callers and callees. Recursive calls count once.

class FunctionTotals {
  /** `visible`: the stacks of the tree. `threads`: those that it was made of. */
  static *made(calls, visible, threads, mode) {
    const made = new FunctionTotals(calls);
    yield* made.#summed();
    for (const thread of threads) yield* made.#selvesOf(thread, visible, mode);
    return made;
  }

  constructor(calls) {
    this.calls = calls;
    const count = calls.labels.length;
    this.selves = new Float64Array(count);
    this.gil = new Float64Array(count); // of the self time, in which the GIL was held
    this.waits = new Float64Array(count); // of the self time, in which the thread waited
    this.totals = new Float64Array(count); // of all stacks that contain a label
  }

  *#summed() {
    const { totals } = this;
    const { columns, totals: totalOf } = this.calls;
    const { outermost, labelIds } = columns;
    yield* inChunks(1, columns.size, (from, to) => {
      for (let node = from; node < to; node++) if (outermost[node]) totals[labelIds[node]] += totalOf[node];
    });
  }

  /** Labels of functions with time, as `{ label, self, total, gil, waits }`. Collecting garbage counts as a function. */
  rows() {
    const rows = [];
    this.totals.forEach((total, index) => {
      const label = this.calls.labels[index];
      if (total > 0 && (isFunction(label) || label.kind === "gc")) {
        rows.push({ label, self: this.selves[index], total, gil: this.gil[index], waits: this.waits[index] });
      }
    });
    return rows;
  }

  *#selvesOf(thread, visible, mode) {
    const { stacks, weights } = thread;
    const times = weights[mode];
    if (!times) return; // not known of a stretch of time
    const { selves, gil, waits, calls } = this;
    yield* inChunks(0, stacks.length, (from, to) => {
      for (let index = from; index < to; index++) {
        const own = visible.label[stacks[index]];
        const isCollecting = own >= 0 && calls.labels[own].kind === "gc";
        const label = isCollecting ? own : visible.functionOf(stacks[index]);
        if (label < 0) continue;
        selves[label] += times[index];
        if (weights.gil) gil[label] += weights.gil[index];
        if (weights.waits) waits[label] += weights.waits[index];
      }
    });
  }
}

/**
 * The callers and the callees of a function, the longest time first: `[{ label, time }]`; label null: none, it is the outermost. In
 * steps (work.js).
 */
function* neighboursOf(calls, label) {
  const { parents, labelIds } = calls.columns;
  const callerOf = (node) => (parents[node] > 0 ? labelIds[parents[node]] : NO_LABEL);
  const callers = yield* timesByKey(calls, (node) => (labelIds[node] === label.index ? callerOf(node) : NOT_COUNTED));
  const callees = yield* timesByKey(calls, (node) => (callerOf(node) === label.index ? labelIds[node] : NOT_COUNTED));
  const sorted = (times) => [...times].filter(([, time]) => time > 0).sort((one, other) => other[1] - one[1])
    .map(([index, time]) => ({ label: index === NO_LABEL ? null : calls.labels[index], time }));
  return { callers: sorted(callers), callees: sorted(callees) };
}

const STEPS_PER_NODE = 4; // as long as so many steps of a loop
const NO_LABEL = -1;
const NOT_COUNTED = -2;

/** The time of the stacks that contain a box with a key. `keyOf(node)`: its key, or NOT_COUNTED. */
function* timesByKey(calls, keyOf) {
  const { totals } = calls;
  const { parents } = calls.columns;
  const times = new Map();
  const nearest = new Int32Array(calls.size); // the node itself or the next one above that has a key; 0: none
  yield* inChunks(1, calls.size, (from, to) => {
    for (let node = from; node < to; node++) {
      let above = nearest[parents[node]];
      nearest[node] = above;
      const key = keyOf(node);
      if (key === NOT_COUNTED) continue;
      nearest[node] = node;
      while (above !== 0 && keyOf(above) !== key) above = nearest[parents[above]];
      if (above === 0) times.set(key, (times.get(key) || 0) + totals[node]);
    }
  }, STEPS_PER_NODE);
  return times;
}
