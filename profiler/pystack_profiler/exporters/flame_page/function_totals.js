// The functions of a call tree: their times, and those of their callers and callees. Recursive calls count once.

class FunctionTotals {
  /** `visible`: the stacks of the tree. `threads`: those that it was made of. */
  constructor(calls, visible, threads, mode) {
    this.calls = calls;
    const count = calls.labels.length;
    this.selves = new Float64Array(count);
    this.gil = new Float64Array(count); // of the self time, in which the GIL was held
    this.waits = new Float64Array(count); // of the self time, in which the thread waited
    this.totals = totalsByLabel(calls);
    for (const thread of threads) this.#addSelves(thread, visible, mode);
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

  #addSelves(thread, visible, mode) {
    const { stacks, weights } = thread;
    if (!weights[mode]) return; // not known of a stretch of time
    for (let index = 0; index < stacks.length; index++) {
      const own = visible.label[stacks[index]];
      const isCollecting = own >= 0 && this.calls.labels[own].kind === "gc";
      const label = isCollecting ? own : visible.functionOf(stacks[index]);
      if (label < 0) continue;
      this.selves[label] += weights[mode][index];
      if (weights.gil) this.gil[label] += weights.gil[index];
      if (weights.waits) this.waits[label] += weights.waits[index];
    }
  }
}

/** For each label, the time of all stacks that contain it. */
function totalsByLabel(calls) {
  const totals = new Float64Array(calls.labels.length);
  const { outermost } = calls.columns;
  for (let node = 1; node < calls.size; node++) if (outermost[node]) totals[calls.labelIds[node]] += calls.totals[node];
  return totals;
}

/** The callers and the callees of a function, the longest time first: `[{ label, time }]`; label null: none, it is the outermost. */
function neighboursOf(calls, label) {
  const { parents, labelIds } = calls;
  const callerOf = (node) => (parents[node] > 0 ? labelIds[parents[node]] : NO_LABEL);
  const callers = timesByKey(calls, (node) => (labelIds[node] === label.index ? callerOf(node) : NOT_COUNTED));
  const callees = timesByKey(calls, (node) => (callerOf(node) === label.index ? labelIds[node] : NOT_COUNTED));
  const sorted = (times) => [...times].filter(([, time]) => time > 0).sort((one, other) => other[1] - one[1])
    .map(([index, time]) => ({ label: index === NO_LABEL ? null : calls.labels[index], time }));
  return { callers: sorted(callers), callees: sorted(callees) };
}

const NO_LABEL = -1;
const NOT_COUNTED = -2;

/** The time of the stacks that contain a box with a key. `keyOf(node)`: its key, or NOT_COUNTED. */
function timesByKey(calls, keyOf) {
  const { parents, totals } = calls;
  const times = new Map();
  const nearest = new Int32Array(calls.size); // the node itself or the next one above that has a key; 0: none
  for (let node = 1; node < calls.size; node++) {
    let above = nearest[parents[node]];
    nearest[node] = above;
    const key = keyOf(node);
    if (key === NOT_COUNTED) continue;
    nearest[node] = node;
    while (above !== 0 && keyOf(above) !== key) above = nearest[parents[above]];
    if (above === 0) times.set(key, (times.get(key) || 0) + totals[node]);
  }
  return times;
}
