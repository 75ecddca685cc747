// The recording in the page: strings, functions, lines, stacks and threads.

/** The function, line or thread of a box. Equal boxes have the same label. */
class Label {
  constructor(index, name, file, line, kind, of = null) {
    this.index = index;
    this.name = name;
    this.functionIndex = of === null ? index : of.index; // of the function's label, if this is one of its lines
    this.function = of === null ? name : of.name; // without the line
    this.file = file;
    this.line = line; // -1: none
    this.kind = kind;
    this.chance = 1; // how much more varies by chance than of independent samples, in a comparison
  }

  get fileName() {
    return this.file.slice(this.file.lastIndexOf("/") + 1);
  }

  /** `/srv/app.py:12`, or "" without a file. */
  get position() {
    return this.file && this.line >= 0 ? `${this.file}:${this.line}` : this.file;
  }
}

const NOT_SAMPLED_NAME = "<not sampled>";
const STEPS_PER_RUN = 8; // as long as so many steps of a loop
const IDLE_MODES = ["wall", "waits"];
const MOSTLY = 0.9;

/**
 * A thread and its time per stack: parallel columns, weights in microseconds, without the time in which it was idle. In a
 * comparison, `side` is the index of its side, else -1.
 */
class Thread {
  constructor(index, data, process, modes) {
    this.index = index;
    this.title = data.title;
    this.process = process;
    this.side = data.side === undefined ? -1 : data.side;
    this.stacks = undifference(data.stack);
    this.time = sum(data.wall); // all of it, idle or not
    this.idle = sum(data.idle || []);
    this.weights = withoutIdle(Object.fromEntries(modes.map((mode) => [mode, data[mode]])), data.idle);
    this.totals = {};
    for (const [mode, weights] of Object.entries(this.weights)) this.totals[mode] = sum(weights || []);
    this.packedRuns = data.runs;
    this.start = data.start;
  }

  /** The time in which the thread waited for work, as far as the mode has such time. */
  idleIn(mode) {
    return IDLE_MODES.includes(mode) ? this.idle : 0;
  }

  /** Its samples in order of time. Unpacked when they are needed first, since the first view does without. */
  get runs() {
    if (this.knownRuns === undefined) this.knownRuns = new Runs(this.packedRuns, this.start);
    return this.knownRuns;
  }

  /** The same thread with its time between `begin` and `end` only. Who was waited for then is not known. `places`: see Runs.during. */
  during(begin, end, places) {
    const { stacks, weights: all, idle } = this.runs.during(begin, end, places);
    const weights = withoutIdle(all, idle);
    const totals = Object.fromEntries(Object.keys(this.totals).map((mode) => [mode, sum(weights[mode] || [])]));
    return Object.assign(Object.create(this), { stacks, weights, totals, time: sum(all.wall), idle: sum(idle) });
  }
}

function sum(numbers) {
  return numbers.reduce((total, number) => total + number, 0);
}

class Recording {
  constructor(data) {
    this.title = data.title;
    this.metadata = data.metadata;
    this.modes = data.modes;
    this.initial = data.initial;
    /** Of a comparison: title and number of samples of what was before and after. */
    this.sides = data.sides || null;

    // Stack 0 is the empty one. Parents come before their children.
    const count = data.stacks.frame.length + 1;
    this.stackCount = count;
    this.stackParent = new Int32Array(count);
    this.stackFrame = new Int32Array(count);
    for (let stack = 1; stack < count; stack++) {
      this.stackParent[stack] = stack - data.stacks.parent[stack - 1];
      this.stackFrame[stack] = data.stacks.frame[stack - 1];
    }

    this.labels = [];
    const { functions, frames, strings } = data;
    const functionLabels = functions.name.map((name, index) =>
      this.#addLabel(strings[name], strings[functions.file[index]], functions.line[index], kindOf(strings[name], data.kinds[functions.kind[index]])));
    if (data.chance) functionLabels.forEach((label, index) => (label.chance = data.chance[index]));
    this.functionLabel = Int32Array.from(frames.function, (index) => functionLabels[index].index);
    this.frameLine = Int32Array.from(frames.line);
    this.lineLabel = Int32Array.from(frames.function, (index, frame) => {
      const label = functionLabels[index];
      const line = frames.line[frame];
      if (line < 0) return label.index;
      const lineLabel = this.#addLabel(`${label.name}:${line}`, label.file, line, label.kind, label);
      lineLabel.chance = label.chance;
      return lineLabel.index;
    });

    this.processes = data.processes.map((process) => ({ title: process.title, label: this.#addLabel(process.title, "", -1, "process") }));
    this.threads = data.threads.map((thread, index) => new Thread(index, thread, this.processes[thread.process], data.modes));
    this.threadLabel = this.threads.map((thread) => this.#addLabel(thread.title, "", -1, "thread"));
    this.ofTasks = this.#ofTasks(data.tasks || []);
    /** Lines of functions that are in the page, by the index of the function's label: [{ first, text, changed }]. */
    this.source = new Map();
    for (const lines of data.source || []) {
      const label = functionLabels[lines.function].index;
      this.source.set(label, [...(this.source.get(label) || []), lines]);
    }
    this.idleLabel = this.#addLabel("idle", "", -1, "idle");
    /** How long was recorded. The first samples can stand for some time before. */
    this.time = Math.max((data.metadata.recording?.duration_ns || 0) / 1000, ...this.threads.map((thread) => thread.time));
    this.timeInWords = "the recording's time";
    const covered = (data.tasks || []).map((loop) => loop.covered);
    Object.assign(this.ofTasks, { time: Math.max(0, ...covered), timeInWords: "the time of the samples of tasks" });
    /** Its duration, and the slice to which the place of a run is known, in microseconds; null if there is no order of time. */
    this.timeline = data.timeline || null;
  }

  /** The mode to begin with. If the threads mostly waited for events, what the tasks waited for is the answer. */
  get firstMode() {
    const idle = sum(this.threads.map((thread) => thread.idle));
    const isIdle = idle > MOSTLY * sum(this.threads.map((thread) => thread.time));
    const { mode } = this.initial;
    return mode === "wall" && this.modes.includes("tasks") && isIdle ? "tasks" : mode;
  }

  /** The tasks in place of the threads: a "thread" has the time of all tasks of an event loop. Their order in time is not known. */
  #ofTasks(loops) {
    const threads = loops.map((loop, index) => new Thread(index, { ...loop, wall: loop.tasks }, this.processes[loop.process], ["tasks"]));
    const threadLabel = threads.map((thread) => this.#addLabel(thread.title, "", -1, "thread"));
    return Object.assign(Object.create(this), { threads, threadLabel });
  }

  /** The same recording with the time between `begin` and `end` only. */
  *during(begin, end) {
    const places = new Int32Array(this.stackCount);
    const threads = [];
    for (const thread of this.threads) {
      threads.push(thread.during(begin, end, places));
      yield STEPS_PER_RUN * thread.runs.count;
    }
    return Object.assign(Object.create(this), { threads, time: end - begin, timeInWords: "the chosen stretch of time" });
  }

  #addLabel(name, file, line, kind, of = null) {
    const label = new Label(this.labels.length, name, file, line, kind, of);
    this.labels.push(label);
    return label;
  }
}

/** Time without samples is no task. */
function kindOf(name, kind) {
  return kind === "marker" && name === NOT_SAMPLED_NAME ? "gap" : kind;
}

/** Weights by mode, less the time in which the thread was idle. Without `idle`, it never was. */
function withoutIdle(weights, idle) {
  const busy = { ...weights };
  for (const mode of idle ? IDLE_MODES : []) {
    if (busy[mode]) busy[mode] = busy[mode].map((time, at) => time - idle[at]);
  }
  return busy;
}

/** The inverse of `_differences` of the exporter: [3, 1, 5] becomes 3, 4, 9. */
function undifference(differences) {
  const numbers = new Int32Array(differences);
  for (let index = 1; index < numbers.length; index++) numbers[index] += numbers[index - 1];
  return numbers;
}
