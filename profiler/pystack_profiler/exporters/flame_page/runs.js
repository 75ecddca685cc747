// The runs of a thread in order of time: samples that follow one another with the same stack and state.

// The flags of a run, as thread_time.py has them.
const RAN = 1;
const WAITED = 2;
const HELD_GIL = 4;
const WAITED_FOR_GIL = 8;
const COLLECTED = 16;
const NOT_SAMPLED = 32;
const USED_CPU = 64;
const IDLE = 128;

/** What a thread did, in the order in which the timeline draws it from the bottom. */
const STATES = [
  { state: "running", title: "running" },
  { state: "runnable", title: "ready, without a CPU" },
  { state: "gil", title: "waiting for the GIL" },
  { state: "gc", title: "garbage collection" },
  { state: "waiting", title: "waiting" },
  { state: "unknown", title: "state unknown" },
  { state: "gap", title: "not sampled" },
  { state: "idle", title: "idle" },
];
const RUNNING = 0;
const RUNNABLE = 1;
const GIL_WAIT = 2;
const COLLECTING = 3;
const WAITING = 4;
const UNKNOWN = 5;
const GAP = 6;
const RESTING = 7;

/** Times are microseconds since the start of the recording. */
class Runs {
  /** `packed`: see thread_time.py. `start`: where the first run begins. */
  constructor(packed, start) {
    const bytes = new Bytes(packed);
    const room = Math.floor(bytes.size / 3); // A run has at least three bytes.
    this.begins = new Float64Array(room + 1);
    this.stacks = new Int32Array(room);
    this.flags = new Uint8Array(room);
    this.cpu = new Float64Array(room);
    this.runnable = new Float64Array(room);
    this.begins[0] = start;
    let count = 0;
    for (let stack = 0; !bytes.isAtEnd; count++) {
      const flags = bytes.next();
      const step = bytes.number();
      stack += step % 2 === 0 ? step / 2 : -(step + 1) / 2;
      this.flags[count] = flags;
      this.stacks[count] = stack;
      this.begins[count + 1] = this.begins[count] + bytes.number();
      if (flags & USED_CPU) {
        this.cpu[count] = bytes.number();
        this.runnable[count] = bytes.number();
      }
    }
    this.count = count;
  }

  get end() {
    return this.begins[this.count];
  }

  /** The run at `time`, or -1. */
  at(time) {
    if (!(time >= this.begins[0] && time < this.end)) return -1;
    let run = this.#first(time);
    while (this.begins[run + 1] <= time) run++;
    return run;
  }

  /** The first run that has not ended before `time`. */
  #first(time) {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.begins[middle + 1] < time) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The state of a run. One that was found running may have been without a CPU for a part of it. */
  state(run) {
    const flags = this.flags[run];
    if (flags & NOT_SAMPLED) return GAP;
    if (flags & COLLECTED) return COLLECTING;
    if (flags & WAITED_FOR_GIL) return GIL_WAIT;
    if (flags & RAN) return this.runnable[run] > this.cpu[run] ? RUNNABLE : RUNNING;
    if (flags & IDLE) return RESTING;
    return flags & WAITED ? WAITING : UNKNOWN;
  }

  /**
   * The time between `begin` and `end` of each stack and mode: `stacks` and, parallel to it, `weights[mode]` and `idle`. Of a run that
   * is cut, each mode gets the same part. `places`: zeros, one for each stack; they are zeros again afterwards.
   */
  during(begin, end, places) {
    const first = this.#first(begin);
    const room = Math.min(places.length, this.#first(end) + 1 - first);
    const stacks = new Int32Array(room);
    const columns = Array.from({ length: 6 }, () => new Float64Array(room));
    const [wall, cpu, gil, runnable, waits, idle] = columns;
    let count = 0;
    for (let run = first; run < this.count && this.begins[run] < end; run++) {
      const from = this.begins[run];
      const length = this.begins[run + 1] - from;
      const seen = Math.min(end, from + length) - Math.max(begin, from);
      if (seen < 0 || (seen === 0 && length > 0)) continue;
      const stack = this.stacks[run];
      let place = places[stack] - 1;
      if (place < 0) {
        place = count++;
        stacks[place] = stack;
        places[stack] = count;
      }
      const flags = this.flags[run];
      wall[place] += seen;
      if (flags & HELD_GIL) gil[place] += seen;
      if (flags & WAITED) waits[place] += seen;
      if (flags & IDLE) idle[place] += seen;
      if (flags & USED_CPU) {
        const part = length > 0 ? seen / length : 1;
        cpu[place] += this.cpu[run] * part;
        runnable[place] += this.runnable[run] * part;
      }
    }
    for (let place = 0; place < count; place++) places[stacks[place]] = 0;
    const [all, ...others] = columns.map((column) => column.subarray(0, count));
    const weights = { wall: all, cpu: others[0], gil: others[1], runnable: others[2], waits: others[3] };
    return { stacks: stacks.subarray(0, count), weights, idle: others[4] };
  }

  /** How long the thread was in each state, in `columns` equal parts of the time between `begin` and `end`. */
  states(begin, end, columns) {
    const times = new Float64Array(columns * STATES.length);
    const width = (end - begin) / columns;
    for (let run = this.#first(begin); run < this.count && this.begins[run] < end; run++) {
      const from = Math.max(begin, this.begins[run]);
      const until = Math.min(end, this.begins[run + 1]);
      const used = this.cpu[run] + this.runnable[run];
      const state = this.state(run);
      const ran = state === RUNNING || state === RUNNABLE;
      const without = ran && used > 0 ? this.runnable[run] / used : 0;
      const last = Math.min(columns - 1, Math.floor((until - begin) / width));
      for (let column = Math.floor((from - begin) / width); column <= last; column++) {
        const left = begin + column * width;
        const time = Math.min(until, left + width) - Math.max(from, left);
        if (!(time > 0)) continue;
        times[column * STATES.length + (ran ? RUNNING : state)] += time * (1 - without);
        if (without > 0) times[column * STATES.length + RUNNABLE] += time * without;
      }
    }
    return times;
  }
}

/** Bytes in base64, and the numbers (LEB128) in them. */
class Bytes {
  constructor(text) {
    this.text = atob(text);
    this.size = this.text.length;
    this.place = 0;
  }

  get isAtEnd() { return this.place >= this.size; }

  next() { return this.text.charCodeAt(this.place++); }

  /** May have more than 32 bits. */
  number() {
    let number = 0;
    for (let scale = 1; !this.isAtEnd; scale *= 128) {
      const byte = this.next();
      number += (byte & 127) * scale;
      if (byte < 128) break;
    }
    return number;
  }
}
