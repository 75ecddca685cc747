// Which frames have boxes. The others are folded: their time is part of their caller's box.

const CODE_KINDS = new Set(["python", "library", "native", "interpreter"]);

// The file, or its end, and the functions that only lead from the start of a thread or process to its code.
const STARTERS = [
  ["/threading.py", ["_bootstrap", "_bootstrap_inner", "run"]],
  ["/multiprocessing/process.py", ["_bootstrap", "run"]],
  ["/multiprocessing/spawn.py", ["spawn_main", "_main"]],
  ["/multiprocessing/popen_fork.py", ["_launch"]],
  ["/runpy.py", ["_run_module_as_main", "_run_module_code", "_run_code", "run_path"]],
];

/** Whether it is a function, and not a wait, a task, a collection of garbage or a thread. */
function isFunction(label) {
  return CODE_KINDS.has(label.kind);
}

/** Whether it is the machinery of imports, or the start of a thread or process. */
function isMachinery(label) {
  if (/^<frozen (?:importlib|runpy|zipimport)/.test(label.file)) return true;
  if (label.kind !== "library") return false;
  const name = label.function.slice(label.function.lastIndexOf(".") + 1);
  return STARTERS.some(([file, names]) => label.file.endsWith(file) && names.includes(name));
}

/** Whether it is not the user's own Python code. */
function isForeign(label) {
  return isFunction(label) && label.kind !== "python";
}

/**
 * For each stack of a recording, the box of its innermost frame. If all functions of a stack are folded, the outermost
 * one of a library is shown all the same, so that its time has a name.
 */
class VisibleStacks {
  /** `machinery`: shown as well. `onlyMine`: folds the standard library, packages and native code. */
  static *made(recording, folding) {
    const visible = new VisibleStacks(recording.stackCount);
    yield* visible.#folded(recording, folding);
    visible.nodes = yield* StackNodes.made(recording, visible);
    return visible;
  }

  constructor(stackCount) {
    /** @type {any} */
    this.nodes = null; // StackNodes: the boxes of the stacks
    this.label = new Int32Array(stackCount).fill(-1); // -1: folded
    this.function = new Int32Array(stackCount).fill(-1); // the innermost one with a box; -1: none
    this.before = new Int32Array(stackCount).fill(-1); // the box to add above that of `label`; -1: none
    this.inside = new Int32Array(stackCount).fill(-1); // the box for the time of the stack itself; -1: the innermost one
  }

  *#folded(recording, { byLine, machinery, onlyMine }) {
    const { stackCount, stackParent, stackFrame, labels } = recording;
    const labelOfFrame = byLine ? recording.lineLabel : recording.functionLabel;
    const isFolded = Uint8Array.from(labels, (label) => ((!machinery && isMachinery(label)) || (onlyMine && isForeign(label)) ? 1 : 0));
    const isCode = Uint8Array.from(labels, (label) => (isFunction(label) ? 1 : 0));
    const isMarker = Uint8Array.from(labels, (label) => (label.kind === "marker" ? 1 : 0));
    // No property is read in the loop: there can be half a million stacks.
    const { label, function: innermost, before, inside } = this;
    yield* inChunks(1, stackCount, (from, to) => {
      for (let stack = from; stack < to; stack++) {
        const parent = stackParent[stack];
        const index = labelOfFrame[stackFrame[stack]];
        const outer = innermost[parent];
        innermost[stack] = outer;
        if (isFolded[index]) {
          if (outer < 0) inside[stack] = this.#standIn(labels, inside[parent], index);
          continue;
        }
        label[stack] = index;
        if (isCode[index]) innermost[stack] = index;
        else if (isMarker[index]) inside[stack] = inside[parent];
        else if (inside[parent] >= 0) before[stack] = innermost[stack] = inside[parent];
      }
    });
  }

  /** The function to which the time of the stack itself belongs; -1: none. */
  functionOf(stack) {
    return this.function[stack] >= 0 ? this.function[stack] : this.inside[stack];
  }

  #standIn(labels, outer, index) {
    if (outer < 0) return index;
    return isMachinery(labels[outer]) && !isMachinery(labels[index]) ? index : outer;
  }
}
