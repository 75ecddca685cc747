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
    this.visible = visible;
    this.isByRoot = threadRoots;
    const all = recording.threads.filter((thread) => threads.has(thread.index) && thread.weights[mode]);
    const chosen = all.filter((thread) => thread.side === side);
    if (threadRoots) {
      this.#addRoots(chosen, mode, idle);
    } else {
      this.columns = visible.nodes.columns;
      this.selves = visible.nodes.selves(chosen, mode, idle);
    }
    this.parents = this.columns.parents;
    this.labelIds = this.columns.labelIds;
    this.totals = this.columns.sums(this.selves);
    this.otherSelves = this.others = null; // of the other side, in a comparison
    if (recording.sides !== null) {
      this.otherSelves = visible.nodes.selves(all.filter((thread) => thread.side !== side), mode, idle);
      this.others = this.columns.sums(this.otherSelves);
    }
    this.sorted = new Map(); // node -> its children
    this.knownStackTimes = null;
    this.weighStacks = () => stackTimes(recording, chosen, mode);
  }

  total(node) { return this.totals[node]; }
  self(node) { return this.selves[node]; }
  other(node) { return this.others[node]; }
  parent(node) { return this.parents[node]; }
  label(node) { return this.labels[this.labelIds[node]]; }
  get size() { return this.columns.size; }

  /** By stack, as long as lines are asked for; the boxes do without. */
  get stackTimes() {
    this.knownStackTimes ??= this.weighStacks();
    return this.knownStackTimes;
  }

  /** Those with time. */
  children(node) {
    let children = this.sorted.get(node);
    if (children === undefined) {
      const { totals, others } = this;
      children = this.columns.children(node).filter((child) => totals[child] > 0 || (others !== null && others[child] > 0));
      children.sort((one, other) => totals[other] - totals[one] || one - other);
      this.sorted.set(node, children);
    }
    return children;
  }

  /** The lines of a box's function and their times, longest first; [] if they are unknown. */
  lines(node) {
    if (this.isByRoot) return [];
    const { label, nodes } = this.visible;
    return this.#lines(this.stackTimes.totals, (stack) => nodes.ofStack[stack] === node && label[stack] >= 0);
  }

  /** The lines at which a function was the innermost one, and their times, longest first. */
  innermostLines(label) {
    return this.#lines(this.stackTimes.selves, (stack) => this.visible.label[stack] === label.index);
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

  /** Puts the boxes of each thread below one of its own. */
  #addRoots(threads, mode, idle) {
    const { nodes } = this.visible;
    const { columns } = nodes;
    const { processes, threadLabel } = this.recording;
    const parents = [-1];
    const labelIds = [-1];
    const selves = [0];
    const add = (parent, label, self) => {
      parents.push(parent);
      labelIds.push(label);
      return selves.push(self) - 1;
    };
    const ofProcess = new Map();
    const place = new Int32Array(columns.size); // of the thread's nodes, here
    for (const thread of threads) {
      const own = nodes.selves([thread], mode, idle);
      const totals = columns.sums(own);
      if (processes.length > 1 && !ofProcess.has(thread.process)) ofProcess.set(thread.process, add(0, thread.process.label.index, 0));
      place[0] = add(ofProcess.get(thread.process) || 0, threadLabel[thread.index].index, own[0]);
      for (let node = 1; node < columns.size; node++) {
        if (totals[node] > 0) place[node] = add(place[columns.parents[node]], columns.labelIds[node], own[node]);
      }
    }
    this.columns = new NodeColumns(parents, labelIds);
    this.selves = new Float64Array(selves);
  }
}

/** The time of each stack itself, and with all that it called. */
function stackTimes({ stackCount, stackParent }, threads, mode) {
  const selves = new Float64Array(stackCount);
  for (const { stacks, weights } of threads) {
    for (let index = 0; index < stacks.length; index++) selves[stacks[index]] += weights[mode][index];
  }
  const totals = selves.slice();
  for (let stack = stackCount - 1; stack > 0; stack--) totals[stackParent[stack]] += totals[stack];
  return { selves, totals };
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
    // For each node that is not expanded, the nodes of the call tree that it stands for, and their share of its time. No node
    // is there twice, since the children of a node have different labels.
    this.callers = [framesOf(calls.selves)];
    this.otherCallers = [framesOf(calls.otherSelves || [])];
    this.groups = new Int32Array(calls.labels.length); // label -> its child, of the node that is expanded
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
    const children = [];
    this.#group(node, children, this.callers, this.totals);
    if (this.others) this.#group(node, children, this.otherCallers, this.others);
    for (const child of children) this.groups[this.labelIds[child]] = 0;
    return children.sort((one, other) => this.totals[other] - this.totals[one]);
  }

  #group(node, children, callers, totals) {
    const { frames, weights } = callers[node];
    const { labelIds, parents } = this.calls;
    for (let index = 0; index < frames.length; index++) {
      const label = labelIds[frames[index]];
      if (this.groups[label] === 0) {
        this.groups[label] = this.#add(node, label);
        children.push(this.groups[label]);
      }
      const child = this.groups[label];
      totals[child] += weights[index];
      const caller = parents[frames[index]];
      if (caller !== 0) {
        callers[child].frames.push(caller);
        callers[child].weights.push(weights[index]);
      }
    }
    callers[node] = null;
  }

  #add(node, label) {
    this.parents.push(node);
    this.labelIds.push(label);
    this.totals.push(0);
    if (this.others) this.others.push(0);
    this.known.push(null);
    this.callers.push({ frames: [], weights: [] });
    this.otherCallers.push({ frames: [], weights: [] });
    return this.parents.length - 1;
  }
}

/** The nodes that have time of their own, and that time. */
function framesOf(selves) {
  const frames = [];
  const weights = [];
  for (let node = 1; node < selves.length; node++) {
    if (selves[node]) {
      frames.push(node);
      weights.push(selves[node]);
    }
  }
  return { frames, weights };
}
