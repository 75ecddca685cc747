// What a page shows: all that follows from the recording and what the user has chosen. It is made in steps (work.js), while the page
// shows the one before, and takes from that what is still right.

const FOLDING = ["byLine", "machinery", "onlyMine"];
const BOXES = [...FOLDING, "stretch", "mode", "threads", "threadRoots", "side", "idle"];

class Picture {
  /**
   * `choices`: { stretch, mode, threads (sorted indices), threadRoots, side, idle, byLine, machinery, onlyMine, isInverted, search,
   * functions (whether their table is shown), opened (the label of the function in it, or null) }. `before`: the picture before, or null.
   */
  static *made(recording, choices, before) {
    const picture = new Picture(choices, before);
    yield* picture.#time(recording);
    yield* picture.#boxes(recording);
    yield* picture.#direction(recording);
    yield* choices.search.looking(); // The table shows what it finds, too.
    if (choices.functions) yield* picture.#table();
    const { search } = choices;
    const isFound = before !== null && before.choices.search === search && before.calls === picture.calls;
    picture.found = isFound ? before.found : search.isEmpty ? null : yield* search.finding(picture.calls);
    picture.before = null;
    return picture;
  }

  constructor(choices, before) {
    this.choices = choices;
    this.before = before;
    /** @type {any} */
    this.details = null; // of the function that is open, if it has time: { label, callers, callees, lines }
    /** @type {Float64Array | null} */
    this.found = null; // see Search; null: nothing is searched for
  }

  #isAsBefore(...keys) {
    const valuesOf = ({ choices }) => JSON.stringify(keys.map((key) => choices[key]));
    return this.before !== null && valuesOf(this.before) === valuesOf(this);
  }

  /** Of the recording, the stretch of time that is chosen. */
  *#time(recording) {
    const { stretch } = this.choices;
    if (this.#isAsBefore("stretch")) this.shown = this.before.shown;
    else this.shown = stretch === null ? recording : yield* recording.during(stretch.begin, stretch.end);
  }

  *#boxes(recording) {
    const { before, choices } = this;
    const { byLine, machinery, onlyMine, mode, threadRoots, side, idle } = choices;
    if (this.#isAsBefore(...BOXES)) {
      for (const key of ["visible", "threads", "calls", "base", "idleTime", "totals"]) this[key] = before[key];
      // One that is not shown may be expanded only in part, by work that was ended.
      this.inverted = before.tree === before.inverted ? before.inverted : null;
      return;
    }
    const isFolded = this.#isAsBefore(...FOLDING);
    this.visible = isFolded ? before.visible : yield* VisibleStacks.made(recording, { byLine, machinery, onlyMine });
    const isOfTasks = mode === "tasks";
    const shown = isOfTasks ? recording.ofTasks : this.shown;
    const chosen = new Set(isOfTasks ? shown.threads.map((thread) => thread.index) : choices.threads);
    this.threads = shown.threads.filter((thread) => chosen.has(thread.index) && thread.side === side);
    this.calls = yield* CallTree.made(shown, { mode, visible: this.visible, threadRoots, side, idle, threads: chosen });
    this.base = isOfTasks ? Base.ofTasks(shown)
      : shown.sides ? new Base(this.calls.total(0), "the time of all threads of this side")
      : Base.of(shown, chosen);
    this.idleTime = sum(this.threads.map((thread) => thread.idleIn(mode)));
    this.inverted = this.totals = null; // made when they are shown
  }

  *#table() {
    const { before, calls } = this;
    const { opened, mode } = this.choices;
    this.totals ??= yield* FunctionTotals.made(calls, this.visible, this.threads, mode);
    if (opened === null || this.totals.totals[opened.index] === 0) return;
    const isSame = before !== null && before.calls === calls && before.details !== null && before.details.label === opened;
    if (isSame) this.details = before.details;
    else this.details = { label: opened, ...(yield* neighboursOf(calls, opened)), lines: yield* lineTimes(calls, opened) };
  }

  *#direction(recording) {
    const { before, choices } = this;
    if (choices.isInverted) this.inverted ??= yield* InvertedTree.made(this.calls);
    this.tree = choices.isInverted ? this.inverted : this.calls;
    const isSame = before !== null && before.tree === this.tree;
    this.changes = isSame ? before.changes : choices.side < 0 ? null : new Changes(this.tree, recording.sides, choices.side);
  }
}
