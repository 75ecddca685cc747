// The boxes of all stacks of a recording, without their times: these alone depend on the mode, the threads and the stretch of time,
// so a change of them is quick.

/** Columns of nodes: parents come before their children. Node 0 is all. */
class StackNodes {
  constructor(recording, visible) {
    const { stackCount, stackParent } = recording;
    const { label, before, inside } = visible;
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
    this.ofStack = new Int32Array(stackCount); // of its innermost frame that has a box
    this.ofTime = new Int32Array(stackCount); // to which the time of the stack itself belongs
    for (let stack = 1; stack < stackCount; stack++) {
      let node = this.ofStack[stackParent[stack]];
      if (before[stack] >= 0) node = child(node, before[stack]);
      if (label[stack] >= 0) node = child(node, label[stack]);
      this.ofStack[stack] = node;
      this.ofTime[stack] = inside[stack] >= 0 ? child(node, inside[stack]) : node;
    }
    this.idle = child(0, recording.idleLabel.index);
    this.columns = new NodeColumns(parents, labelIds);
  }

  /** The time of each node itself, of `threads` in `mode`. With `idle`, the time in which they waited for work, too. */
  selves(threads, mode, idle) {
    const selves = new Float64Array(this.columns.size);
    for (const thread of threads) {
      const { stacks } = thread;
      const weights = thread.weights[mode];
      for (let index = 0; index < stacks.length; index++) selves[this.ofTime[stacks[index]]] += weights[index];
      if (idle) selves[this.idle] += thread.idleIn(mode);
    }
    return selves;
  }
}

/** What a tree of boxes is, without times. */
class NodeColumns {
  constructor(parents, labelIds) {
    this.parents = new Int32Array(parents);
    this.labelIds = new Int32Array(labelIds);
    this.size = this.parents.length;
    /** @type {Uint8Array | null} */
    this.knownOutermost = null;
    this.firstChild = new Int32Array(this.size + 2);
    for (let node = this.size - 1; node > 0; node--) this.firstChild[this.parents[node] + 2]++;
    for (let node = 1; node < this.size + 2; node++) this.firstChild[node] += this.firstChild[node - 1];
    this.childList = new Int32Array(this.size - 1);
    for (let node = 1; node < this.size; node++) this.childList[this.firstChild[this.parents[node] + 1]++] = node;
  }

  children(node) {
    return this.childList.subarray(this.firstChild[node], this.firstChild[node + 1]);
  }

  /** The sum of each node and what is below it. */
  sums(selves) {
    const totals = selves.slice();
    const { parents } = this;
    for (let node = totals.length - 1; node > 0; node--) totals[parents[node]] += totals[node];
    return totals;
  }

  /** For each node, 1 if no node above it has the same label: in its total, recursive calls count once. */
  get outermost() {
    this.knownOutermost ??= this.#findOutermost();
    return this.knownOutermost;
  }

  #findOutermost() {
    const { labelIds, firstChild, childList } = this;
    const outermost = new Uint8Array(this.size);
    const open = new Int32Array(labelIds.reduce((most, label) => Math.max(most, label), 0) + 1); // how often a label is on the path
    const path = [0];
    const next = [firstChild[0]];
    while (path.length > 0) {
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
    return outermost;
  }
}
