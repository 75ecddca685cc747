// Trees of boxes: from callers to callees (CallTree), and from the innermost functions to their callers (InvertedTree).
// Both have `labels`, `total(node)`, `self(node)`, `label(node)`, `parent(node)`, `children(node)` (widest first), and in a
// comparison `other(node)`, the total of the other side. Node 0 is all.

const STEPS_PER_STACK = 30; // as many as it has frames

class CallTree {
  /**
   * Merges the stacks of `threads` (indices) with their weights in `mode`, as far as they are visible (VisibleStacks). With
   * `threadRoots`, threads (and processes, if there are several) are the outermost boxes. With `idle`, the time in which threads
   * waited for work is a box. In a comparison, the widths are those of `side`.
   */
  static *made(recording, options) {
    const tree = new CallTree(recording, options);
    yield* tree.#summed(options.idle || false);
    return tree;
  }

  constructor(recording, { mode, threads, visible, threadRoots, side = -1 }) {
    this.recording = recording;
    this.labels = recording.labels;
    this.root = 0;
    this.visible = visible;
    this.isByRoot = threadRoots;
    const all = recording.threads.filter((thread) => threads.has(thread.index) && thread.weights[mode]);
    this.threads = all.filter((thread) => thread.side === side);
    this.otherThreads = all.filter((thread) => thread.side !== side);
    this.mode = mode;
    /** @type {any} */
    this.columns = visible.nodes.columns; // NodeColumns
    this.selves = this.totals = new Float64Array(0);
    /** @type {Float64Array | null} */
    this.others = null; // of the other side, in a comparison
    this.otherSelves = null;
    this.sorted = new Map(); // node -> its children
    this.knownStackTimes = null;
  }

  *#summed(idle) {
    const { nodes } = this.visible;
    if (this.isByRoot) yield* this.#rooted(idle);
    else this.selves = yield* nodes.selves(this.threads, this.mode, idle);
    this.totals = yield* this.columns.sums(this.selves);
    if (this.recording.sides === null) return;
    this.otherSelves = yield* nodes.selves(this.otherThreads, this.mode, idle);
    this.others = yield* this.columns.sums(this.otherSelves);
  }

  total(node) { return this.totals[node]; }
  self(node) { return this.selves[node]; }
  other(node) { return this.others[node]; }
  parent(node) { return this.parents[node]; }
  label(node) { return this.labels[this.labelIds[node]]; }
  get size() { return this.columns.size; }
  get parents() { return this.columns.parents; }
  get labelIds() { return this.columns.labelIds; }

  /** By stack, as long as lines are asked for; the boxes do without. */
  get stackTimes() {
    if (this.knownStackTimes === null) finish(this.weighed());
    return this.knownStackTimes;
  }

  /** Makes them before they are asked for. */
  *weighed() {
    this.knownStackTimes ??= yield* stackTimes(this.recording, this.threads, this.mode);
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
  *#rooted(idle) {
    const { nodes } = this.visible;
    const { parents: parentOf, labelIds: labelOf, size } = nodes.columns;
    const { processes, threadLabel } = this.recording;
    const parents = [-1];
    const labelIds = [-1];
    const selves = [0];
    const add = (parent, label) => {
      parents.push(parent);
      labelIds.push(label);
      return selves.push(0) - 1;
    };
    const ofProcess = new Map();
    const place = new Int32Array(size); // of a node below the root of a thread, here
    const owner = new Int32Array(size).fill(-1); // the thread for which that is
    const path = [];
    const addBelow = (root, thread, node, time) => {
      for (; node !== 0 && owner[node] !== thread; node = parentOf[node]) path.push(node);
      let here = node === 0 ? root : place[node];
      while (path.length > 0) {
        const next = path.pop();
        here = place[next] = add(here, labelOf[next]);
        owner[next] = thread;
      }
      selves[here] += time;
    };
    for (const { index: number, process, stacks, weights, idle: idleTime } of this.threads) {
      if (processes.length > 1 && !ofProcess.has(process)) ofProcess.set(process, add(0, process.label.index));
      const root = add(ofProcess.get(process) || 0, threadLabel[number].index);
      const times = weights[this.mode];
      yield* inChunks(0, stacks.length, (from, to) => {
        for (let index = from; index < to; index++) {
          if (times[index] > 0) addBelow(root, number, nodes.ofTime[stacks[index]], times[index]);
        }
      }, STEPS_PER_STACK);
      if (idle && idleTime > 0 && IDLE_MODES.includes(this.mode)) addBelow(root, number, nodes.idle, idleTime);
    }
    this.columns = yield* NodeColumns.made(parents, labelIds);
    this.selves = new Float64Array(selves);
  }
}

/** The time of each stack itself, and with all that it called. */
function* stackTimes({ stackCount, stackParent }, threads, mode) {
  const selves = new Float64Array(stackCount);
  for (const { stacks, weights } of threads) {
    const times = weights[mode];
    yield* inChunks(0, stacks.length, (from, to) => {
      for (let index = from; index < to; index++) selves[stacks[index]] += times[index];
    });
  }
  const totals = selves.slice();
  yield* inChunksBackwards(1, stackCount, (from, to) => {
    for (let stack = to - 1; stack >= from; stack--) totals[stackParent[stack]] += totals[stack];
  });
  return { selves, totals };
}

/** Expanded on demand: the whole tree can have as many boxes as all stacks have frames. */
class InvertedTree {
  static *made(calls) {
    const tree = new InvertedTree(calls);
    tree.callers[0] = yield* framesOf(calls.selves);
    if (calls.others) tree.otherCallers[0] = yield* framesOf(calls.otherSelves);
    return tree;
  }

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
    this.callers = [NO_FRAMES];
    this.otherCallers = [NO_FRAMES];
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
    if (this.known[node] === null) finish(this.expanding(node));
    return this.known[node];
  }

  /** Finds the children of a node before they are asked for. Whoever begins it must end it before anything else uses the tree. */
  *expanding(node) {
    if (this.known[node] !== null) return;
    const children = [];
    yield* this.#grouped(node, children, this.callers, this.totals);
    if (this.others) yield* this.#grouped(node, children, this.otherCallers, this.others);
    for (const child of children) this.groups[this.labelIds[child]] = 0;
    this.known[node] = children.sort((one, other) => this.totals[other] - this.totals[one]);
  }

  *#grouped(node, children, callers, totals) {
    const { frames, weights } = callers[node];
    const { labelIds, parents } = this.calls;
    const { groups } = this;
    const base = children.length > 0 ? children[0] : this.parents.length; // the first child: all are made here
    const counts = []; // by the place of each child from the first on, the frames with callers
    yield* inChunks(0, frames.length, (from, to) => {
      for (let index = from; index < to; index++) {
        const frame = frames[index];
        const label = labelIds[frame];
        if (groups[label] === 0) {
          groups[label] = this.#add(node, label);
          children.push(groups[label]);
        }
        const child = groups[label];
        totals[child] += weights[index];
        if (parents[frame] !== 0) counts[child - base] = (counts[child - base] || 0) + 1;
      }
    });
    counts.forEach((count, at) => (callers[base + at] = { frames: new Int32Array(count), weights: new Float64Array(count) }));
    yield* inChunksBackwards(0, frames.length, (from, to) => {
      for (let index = to - 1; index >= from; index--) {
        const caller = parents[frames[index]];
        if (caller === 0) continue;
        const child = groups[labelIds[frames[index]]];
        const place = --counts[child - base];
        callers[child].frames[place] = caller;
        callers[child].weights[place] = weights[index];
      }
    });
    callers[node] = NO_FRAMES;
  }

  #add(node, label) {
    this.parents.push(node);
    this.labelIds.push(label);
    this.totals.push(0);
    if (this.others) this.others.push(0);
    this.known.push(null);
    this.callers.push(NO_FRAMES);
    this.otherCallers.push(NO_FRAMES);
    return this.parents.length - 1;
  }
}

const NO_FRAMES = { frames: new Int32Array(0), weights: new Float64Array(0) };

/** The nodes that have time of their own, and that time. */
function* framesOf(selves) {
  const frames = new Int32Array(selves.length);
  let count = 0;
  yield* inChunks(1, selves.length, (from, to) => {
    for (let node = from; node < to; node++) if (selves[node]) frames[count++] = node;
  });
  return { frames: frames.slice(0, count), weights: Float64Array.from(frames.subarray(0, count), (node) => selves[node]) };
}
