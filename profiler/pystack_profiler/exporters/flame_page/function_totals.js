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
  const open = new Int32Array(calls.labels.length);
  walk(calls, (node) => {
    const label = calls.labelIds[node];
    if (open[label]++ === 0) totals[label] += calls.totals[node];
  }, (node) => open[calls.labelIds[node]]--);
  return totals;
}

/** The callers and the callees of a function, the longest time first: `[{ label, time }]`; label null: none, it is the outermost. */
function neighboursOf(calls, label) {
  const callers = new Map();
  const callees = new Map();
  const openCallers = new Map();
  const openCallees = new Map();
  const enter = (times, open, key, time) => {
    if (!open.get(key)) times.set(key, (times.get(key) || 0) + time);
    open.set(key, (open.get(key) || 0) + 1);
  };
  const leave = (open, key) => open.set(key, open.get(key) - 1);
  const each = (node, act) => {
    const parent = calls.parents[node];
    const caller = parent > 0 ? calls.labelIds[parent] : -1;
    if (calls.labelIds[node] === label.index) act(callers, openCallers, caller, calls.totals[node]);
    if (caller === label.index) act(callees, openCallees, calls.labelIds[node], calls.totals[node]);
  };
  walk(calls, (node) => each(node, enter), (node) => each(node, (_times, open, key) => leave(open, key)));
  const sorted = (times) => [...times].filter(([, time]) => time > 0).sort((one, other) => other[1] - one[1])
    .map(([index, time]) => ({ label: index < 0 ? null : calls.labels[index], time }));
  return { callers: sorted(callers), callees: sorted(callees) };
}

/** Visits all boxes of a call tree, callers before and after what they call. Stacks may be very deep. */
function walk(calls, enter, leave) {
  const { childList, firstChild } = calls;
  const path = [0];
  const next = [firstChild[0]];
  while (path.length > 0) {
    const top = path.length - 1;
    const node = path[top];
    if (next[top] < firstChild[node + 1]) {
      const child = childList[next[top]++];
      enter(child);
      path.push(child);
      next.push(firstChild[child]);
    } else {
      if (node !== 0) leave(node);
      path.pop();
      next.pop();
    }
  }
}
