// The boxes of all stacks of a recording, without their times: these alone depend on the mode, the threads and the stretch of time,
// so a change of them is quick.

/** Columns of nodes: parents come before their children. Node 0 is all. */
class StackNodes {
  static *made(recording, visible) {
    const nodes = new StackNodes(recording.stackCount);
    nodes.columns = yield* nodes.#added(recording, visible);
    return nodes;
  }

  constructor(stackCount) {
    /** @type {any} */
    this.columns = null; // NodeColumns
    this.idle = 0; // the node for the time in which threads waited for work
    this.ofStack = new Int32Array(stackCount); // of its innermost frame that has a box
    this.ofTime = new Int32Array(stackCount); // to which the time of the stack itself belongs
  }

  *#added(recording, visible) {
    const { stackCount, stackParent } = recording;
    const { label, before, inside } = visible;
    const { ofStack, ofTime } = this;
    // A stack adds at most three nodes; nearly all add one or none.
    const pairs = new PairMap(stackCount);
    const parents = [-1];
    const labelIds = [-1];
    const child = (parent, labelId) => {
      const node = pairs.add(parent, labelId);
      if (node === parents.length) {
        parents.push(parent);
        labelIds.push(labelId);
      }
      return node;
    };
    yield* inChunks(1, stackCount, (from, to) => {
      for (let stack = from; stack < to; stack++) {
        let node = ofStack[stackParent[stack]];
        if (before[stack] >= 0) node = child(node, before[stack]);
        if (label[stack] >= 0) node = child(node, label[stack]);
        ofStack[stack] = node;
        ofTime[stack] = inside[stack] >= 0 ? child(node, inside[stack]) : node;
      }
    });
    this.idle = child(0, recording.idleLabel.index);
    return yield* NodeColumns.made(parents, labelIds);
  }

  /** The time of each node itself, of `threads` in `mode`. With `idle`, the time in which they waited for work, too. */
  *selves(threads, mode, idle) {
    const selves = new Float64Array(this.columns.size);
    const { ofTime } = this;
    for (const thread of threads) {
      const { stacks } = thread;
      const weights = thread.weights[mode];
      yield* inChunks(0, stacks.length, (from, to) => {
        for (let index = from; index < to; index++) selves[ofTime[stacks[index]]] += weights[index];
      });
      if (idle) selves[this.idle] += thread.idleIn(mode);
    }
    return selves;
  }
}

/** What a tree of boxes is, without times. */
class NodeColumns {
  static *made(parents, labelIds) {
    const columns = new NodeColumns(parents, labelIds);
    yield* columns.#linked();
    yield* columns.#marked();
    return columns;
  }

  constructor(parents, labelIds) {
    this.parents = new Int32Array(parents);
    this.labelIds = new Int32Array(labelIds);
    this.size = this.parents.length;
    this.firstChild = new Int32Array(this.size + 2);
    this.childList = new Int32Array(this.size - 1);
    /** For each node, 1 if no node above it has the same label: in its total, recursive calls count once. */
    this.outermost = new Uint8Array(this.size);
  }

  /** Finds the children of each node. */
  *#linked() {
    const { parents, firstChild, childList, size } = this;
    yield* inChunks(1, size, (from, to) => {
      for (let node = from; node < to; node++) firstChild[parents[node] + 2]++;
    });
    yield* inChunks(1, size + 2, (from, to) => {
      for (let node = from; node < to; node++) firstChild[node] += firstChild[node - 1];
    });
    yield* inChunks(1, size, (from, to) => {
      for (let node = from; node < to; node++) childList[firstChild[parents[node] + 1]++] = node;
    });
  }

  children(node) {
    return this.childList.subarray(this.firstChild[node], this.firstChild[node + 1]);
  }

  /** The sum of each node and what is below it. */
  *sums(selves) {
    const totals = selves.slice();
    const { parents } = this;
    yield* inChunksBackwards(1, totals.length, (from, to) => {
      for (let node = to - 1; node >= from; node--) totals[parents[node]] += totals[node];
    });
    return totals;
  }

  *#marked() {
    const { labelIds, firstChild, childList, outermost } = this;
    const open = new Int32Array(labelIds.reduce((most, label) => Math.max(most, label), 0) + 1); // how often a label is on the path
    const path = [0];
    const next = [firstChild[0]];
    for (let steps = 1; path.length > 0; steps++) {
      if (steps % CHUNK === 0) yield CHUNK;
      const top = path.length - 1;
      const node = path[top];
      if (next[top] < firstChild[node + 1]) {
        const child = childList[next[top]++];
        outermost[child] = open[labelIds[child]]++ === 0 ? 1 : 0;
        path.push(child);
        next.push(firstChild[child]);
      } else {
        if (node !== 0) open[labelIds[node]]--;
        path.pop();
        next.pop();
      }
    }
  }
}
