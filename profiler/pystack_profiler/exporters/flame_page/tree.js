// Trees of boxes: from callers to callees (CallTree), and from the innermost functions to their callers (InvertedTree).
// Both have `labels`, `total(node)`, `self(node)`, `label(node)`, `parent(node)`, `children(node)` (widest first), and in a
// comparison `other(node)`, the total of the other side. Node 0 is all.

class CallTree {
  /**
   * Merges the stacks of `threads` (indices) with their weights in `mode`, as far as they are visible (VisibleStacks). With
   * `threadRoots`, threads (and processes, if there are several) are the outermost boxes. With `idle`, the time in which threads
   * waited for work is a box. In a comparison, the widths are those of `side`.
   */
  constructor(recording, { mode, threads, visible, threadRoots, idle = false, side = -1 }) {
    this.recording = recording;
    this.labels = recording.labels;
    this.root = 0;
    this.parents = [-1];
    this.labelIds = [-1];
    this.selves = [0];
    this.otherSelves = [0];
    this.nodeIds = new PairMap();
    this.visible = visible;
    this.nodeOfStack = new Int32Array(recording.stackCount);
    this.roundOfStack = new Int32Array(recording.stackCount); // for which root nodeOfStack holds
    this.path = [];

    const all = recording.threads.filter((thread) => threads.has(thread.index) && thread.weights[mode]);
    const chosen = all.filter((thread) => thread.side === side);
    for (const [index, thread] of (threadRoots ? chosen : all).entries()) {
      const selves = thread.side === side ? this.selves : this.otherSelves;
      const root = threadRoots ? this.#rootOf(thread) : 0;
      this.#add(root, threadRoots ? index + 1 : 1, thread, mode, selves);
      if (idle && thread.idleIn(mode) > 0) selves[this.#child(root, recording.idleLabel.index)] += thread.idleIn(mode);
    }
    this.others = null; // their totals, in a comparison
    this.#addUp();
    if (recording.sides !== null) this.others = this.#sums(this.otherSelves);
    this.#weighStacks(chosen, mode);
    this.isByRoot = threadRoots;
  }

  total(node) { return this.totals[node]; }
  self(node) { return this.selves[node]; }
  other(node) { return this.others[node]; }
  parent(node) { return this.parents[node]; }
  label(node) { return this.labels[this.labelIds[node]]; }
  get size() { return this.parents.length; }

  children(node) {
    const children = this.childList.subarray(this.firstChild[node], this.firstChild[node + 1]);
    if (!this.isSorted[node]) {
      children.sort((one, other) => this.totals[other] - this.totals[one] || one - other);
      this.isSorted[node] = 1;
    }
    return children;
  }

  /** The lines of a box's function and their times, longest first; [] if they are unknown. */
  lines(node) {
    if (this.isByRoot) return [];
    const { label } = this.visible;
    return this.#lines(this.stackTotals, (stack) => this.roundOfStack[stack] && this.nodeOfStack[stack] === node && label[stack] >= 0);
  }

  /** The lines at which a function was the innermost one, and their times, longest first. */
  innermostLines(label) {
    return this.#lines(this.stackSelves, (stack) => this.visible.label[stack] === label.index);
  }

  #lines(weights, isCounted) {
    const times = new Map();
    for (let stack = 1; stack < weights.length; stack++) {
      if (!weights[stack] || !isCounted(stack)) continue;
      const line = this.recording.frameLine[this.recording.stackFrame[stack]];
      if (line >= 0) times.set(line, (times.get(line) || 0) + weights[stack]);
    }
    return [...times].sort((one, other) => other[1] - one[1]);
  }

  #rootOf(thread) {
    const outer = this.recording.processes.length > 1 ? this.#child(0, thread.process.label.index) : 0;
    return this.#child(outer, this.recording.threadLabel[thread.index].index);
  }

  #add(root, round, thread, mode, selves) {
    const { stackParent } = this.recording;
    const { label, before, inside } = this.visible;
    const { stacks } = thread;
    const weights = thread.weights[mode];
    for (let index = 0; index < stacks.length; index++) {
      if (!weights[index]) continue;
      let stack = stacks[index];
      let depth = 0;
      for (; stack !== 0 && this.roundOfStack[stack] !== round; stack = stackParent[stack]) this.path[depth++] = stack;
      let node = stack === 0 ? root : this.nodeOfStack[stack];
      while (depth > 0) {
        stack = this.path[--depth];
        if (before[stack] >= 0) node = this.#child(node, before[stack]);
        if (label[stack] >= 0) node = this.#child(node, label[stack]);
        this.nodeOfStack[stack] = node;
        this.roundOfStack[stack] = round;
      }
      const innermost = inside[stacks[index]];
      selves[innermost >= 0 ? this.#child(node, innermost) : node] += weights[index];
    }
  }

  #child(parent, label) {
    const node = this.nodeIds.add(parent, label);
    if (node === this.parents.length) {
      this.parents.push(parent);
      this.labelIds.push(label);
      this.selves.push(0);
      this.otherSelves.push(0);
    }
    return node;
  }

  #addUp() {
    const count = this.size;
    this.nodeIds = null;
    this.totals = this.#sums(this.selves);
    this.firstChild = new Int32Array(count + 2);
    for (let node = count - 1; node > 0; node--) this.firstChild[this.parents[node] + 2]++;
    for (let node = 1; node < count + 2; node++) this.firstChild[node] += this.firstChild[node - 1];
    this.childList = new Int32Array(count - 1);
    for (let node = 1; node < count; node++) this.childList[this.firstChild[this.parents[node] + 1]++] = node;
    this.isSorted = new Uint8Array(count);
  }

  /** The sum of each box and what is below it. */
  #sums(selves) {
    const totals = Float64Array.from(selves);
    for (let node = totals.length - 1; node > 0; node--) totals[this.parents[node]] += totals[node];
    return totals;
  }

  #weighStacks(threads, mode) {
    this.stackSelves = new Float64Array(this.recording.stackCount);
    for (const thread of threads) {
      thread.stacks.forEach((stack, index) => (this.stackSelves[stack] += thread.weights[mode][index]));
    }
    this.stackTotals = this.stackSelves.slice();
    for (let stack = this.stackTotals.length - 1; stack > 0; stack--) {
      this.stackTotals[this.recording.stackParent[stack]] += this.stackTotals[stack];
    }
  }
}

/** Expanded on demand: the whole tree can have as many boxes as all stacks have frames. */
class InvertedTree {
  constructor(calls) {
    this.calls = calls;
    this.labels = calls.labels;
    this.root = 0;
    this.parents = [-1];
    this.labelIds = [-1];
    this.totals = [calls.total(0)];
    this.others = calls.others && [calls.other(0)];
    this.known = [null]; // children
    // For each node, the nodes of the call tree that it stands for, and their share of its time.
    this.callers = [framesOf(calls.selves)];
    this.otherCallers = [calls.others ? framesOf(calls.otherSelves) : new Map()];
  }

  total(node) { return this.totals[node]; }
  self(node) { return this.totals[node] - this.children(node).reduce((sum, child) => sum + this.totals[child], 0); }
  other(node) { return this.others[node]; }
  parent(node) { return this.parents[node]; }
  label(node) { return this.labels[this.labelIds[node]]; }

  /** The lines of the innermost functions, which are the outermost boxes here. */
  lines(node) {
    return this.parents[node] === 0 ? this.calls.innermostLines(this.label(node)) : [];
  }

  children(node) {
    if (this.known[node] === null) this.known[node] = this.#expand(node);
    return this.known[node];
  }

  #expand(node) {
    const groups = new Map(); // label -> its child
    this.#group(node, groups, this.callers, this.totals);
    if (this.others) this.#group(node, groups, this.otherCallers, this.others);
    return [...groups.values()].sort((one, other) => this.totals[other] - this.totals[one]);
  }

  #group(node, groups, callers, totals) {
    for (const [frame, weight] of callers[node]) {
      const label = this.calls.labelIds[frame];
      let child = groups.get(label);
      if (child === undefined) {
        child = this.#add(node, label);
        groups.set(label, child);
      }
      totals[child] += weight;
      const caller = this.calls.parents[frame];
      if (caller !== 0) callers[child].set(caller, (callers[child].get(caller) || 0) + weight);
    }
    callers[node] = null;
  }

  #add(node, label) {
    this.parents.push(node);
    this.labelIds.push(label);
    this.totals.push(0);
    if (this.others) this.others.push(0);
    this.known.push(null);
    this.callers.push(new Map());
    this.otherCallers.push(new Map());
    return this.parents.length - 1;
  }
}

/** The nodes that have time of their own, and that time. */
function framesOf(selves) {
  const frames = new Map();
  for (let node = 1; node < selves.length; node++) if (selves[node]) frames.set(node, selves[node]);
  return frames;
}
