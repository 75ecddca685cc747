// The timeline: what each thread did when, and the stretch of time that the graph shows.

const MOST_ROWS = 6; // without scrolling
const STEPS = 100; // An arrow key goes so much of the shown time.
const SHORTEST_DRAG = 3; // pixels; less is a click

class Timeline {
  /** `onChoose` is called with the stretch ({ begin, end } in microseconds), or with null for the whole time. */
  constructor(recording, tip, onChoose) {
    this.recording = recording;
    this.tip = tip;
    this.onChoose = onChoose;
    this.stretch = null;
    this.cursor = -1; // where the next stretch begins by keyboard; -1: nowhere
    this.drag = null;
    this.panel = byId("timeline");
    this.rows = byId("timeline-rows");
    this.painter = new TimelinePainter(byId("timeline-canvas"), recording);
    this.panel.hidden = recording.timeline === null || recording.timeline.duration === 0 || recording.threads.length === 0;
    if (this.panel.hidden) return;
    this.whole = { begin: 0, end: recording.timeline.duration };
    this.shown = this.whole; // the time from the left to the right edge
    byId("timeline-spacer").style.height = `${heightOfRows(recording.threads.length)}px`;
    this.rows.style.height = `${heightOfRows(Math.min(MOST_ROWS, recording.threads.length))}px`;
    this.#listen();
    // The graph is drawn first: it needs no order of time.
    setTimeout(() => new ResizeObserver(() => this.lay()).observe(this.rows));
  }

  /** Call this after a change of the window. */
  lay() {
    this.painter.resize(this.rows.clientWidth, this.rows.clientHeight);
    this.draw();
  }

  setTheme(palette) {
    this.palette = palette;
    if (this.panel.hidden) return;
    byId("timeline-legend").replaceChildren(...this.#legendStates().map(({ state, title }) => {
      const swatch = element("i");
      swatch.style.background = palette.state(state);
      return element("span", {}, swatch, title);
    }));
    this.draw();
  }

  /** Those that were measured. */
  #legendStates() {
    const { modes, metadata } = this.recording;
    const withCpu = modes.includes("cpu");
    const isShown = {
      running: withCpu, runnable: withCpu, waiting: withCpu, idle: this.recording.threads.some((thread) => thread.idle > 0),
      unknown: !withCpu, gil: metadata.gil !== null, gc: metadata.gc_ns > 0,
      gap: metadata.threads.some((thread) => thread.gap_ns > 0),
    };
    return STATES.filter(({ state }) => isShown[state]);
  }

  draw() {
    if (this.isDrawing || !this.painter.width) return;
    this.isDrawing = true;
    requestAnimationFrame(() => {
      this.isDrawing = false;
      const { shown, stretch, cursor } = this;
      this.painter.draw({ shown, stretch, cursor }, this.palette, this.rows.scrollTop);
    });
  }

  /** Chooses a stretch of time, or the whole time (null). */
  choose(stretch) {
    this.#mark(stretch);
    this.onChoose(this.stretch);
  }

  /** Undoes one thing: the stretch, or the magnified time. Returns whether there was any. */
  escape() {
    if (this.stretch !== null) this.choose(null);
    else if (this.shown !== this.whole) this.#show(this.whole);
    else return false;
    return true;
  }

  /** Shows a stretch as chosen, but not yet in the graph. */
  #mark(stretch) {
    this.stretch = stretch;
    byId("stretch").textContent = stretch === null ? "" : stretchInWords(stretch);
    byId("whole-time").disabled = stretch === null;
    this.draw();
  }

  #show(stretch) {
    this.shown = stretch || this.whole;
    this.draw();
  }

  #listen() {
    const { rows } = this;
    byId("whole-time").addEventListener("click", () => this.choose(null));
    rows.addEventListener("scroll", () => this.draw());
    rows.addEventListener("keydown", (event) => this.#onKey(event));
    rows.addEventListener("focus", () => {
      // A click is no use of the keyboard.
      if (this.cursor < 0 && rows.matches(":focus-visible")) this.cursor = (this.stretch || this.shown).begin;
      this.draw();
    });
    rows.addEventListener("blur", () => {
      this.cursor = -1;
      this.draw();
    });
    rows.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || event.offsetX < this.painter.left) return;
      rows.setPointerCapture(event.pointerId);
      this.drag = { from: this.#timeAt(event), x: event.clientX, before: this.stretch };
    });
    rows.addEventListener("pointermove", (event) => {
      if (this.drag === null) this.#showTip(event);
      else if (Math.abs(event.clientX - this.drag.x) >= SHORTEST_DRAG) this.#mark(between(this.drag.from, this.#timeAt(event)));
    });
    rows.addEventListener("pointerup", () => {
      if (this.drag === null) return;
      const { before } = this.drag;
      this.drag = null;
      if (this.stretch !== before) this.onChoose(this.stretch);
    });
    rows.addEventListener("pointercancel", () => {
      if (this.drag !== null) this.#mark(this.drag.before);
      this.drag = null;
    });
    rows.addEventListener("pointerleave", () => this.tip.hide());
    rows.addEventListener("dblclick", () => this.#show(this.stretch));
  }

  #onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") {
      if (!this.escape()) return;
    } else if (event.key === "ArrowLeft") this.#step(-1, event.shiftKey);
    else if (event.key === "ArrowRight") this.#step(1, event.shiftKey);
    else if (event.key === "Enter") this.#show(this.stretch);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** Moves the cursor or the stretch; with Shift, makes the stretch begin or end elsewhere. */
  #step(direction, extends_) {
    const step = (direction * (this.shown.end - this.shown.begin)) / STEPS;
    const { stretch } = this;
    if (this.cursor < 0) this.cursor = (stretch || this.shown).begin;
    if (extends_) {
      // The end that moves is the one away from where the cursor was first.
      if (stretch === null) this.anchor = this.cursor;
      const other = stretch === null ? this.cursor : this.anchor === stretch.begin ? stretch.end : stretch.begin;
      this.cursor = this.#bounded(other + step);
      const next = between(this.anchor, this.cursor);
      this.choose(next.begin < next.end ? next : null);
    } else if (stretch !== null) {
      const length = stretch.end - stretch.begin;
      const begin = Math.min(Math.max(0, stretch.begin + step), this.whole.end - length);
      this.anchor = begin;
      this.cursor = begin + length;
      this.choose({ begin, end: begin + length });
    } else {
      this.cursor = this.#bounded(this.cursor + step);
      this.draw();
    }
  }

  #bounded(time) {
    return Math.min(Math.max(this.shown.begin, time), this.shown.end);
  }

  #timeAt(event) {
    const { left } = this.rows.getBoundingClientRect();
    return this.#bounded(this.painter.timeAt(event.clientX - left, this.shown));
  }

  #showTip(event) {
    const { left, top } = this.rows.getBoundingClientRect();
    const thread = this.painter.threadAt(event.clientY - top, this.rows.scrollTop);
    if (thread === null) {
      this.tip.hide();
      return;
    }
    const time = event.clientX - left < this.painter.left ? -1 : this.#timeAt(event);
    this.tip.show(momentFacts(this.recording, thread, time), event.clientX, event.clientY);
  }
}

/** What a thread did at a time, for a tooltip (see Page.facts). */
function momentFacts(recording, thread, time) {
  const facts = { name: thread.title, position: thread.process.title, total: 0, lines: [], shares: [] };
  if (time < 0) return facts;
  const run = thread.runs.at(time);
  const about = recording.timeline.slice > 0 ? `within ${formatTime(recording.timeline.slice)}` : "";
  facts.shares.push(["at", formatTime(time), about]);
  if (run < 0) return facts;
  const { begins, stacks } = thread.runs;
  facts.shares.push([STATES[thread.runs.state(run)].title, formatTime(begins[run + 1] - begins[run]), ""]);
  if (stacks[run] !== 0) facts.shares.push(["in", recording.labels[recording.functionLabel[recording.stackFrame[stacks[run]]]].name, ""]);
  return facts;
}

function between(one, other) {
  return { begin: Math.min(one, other), end: Math.max(one, other) };
}

/** `1.20 s to 1.35 s (150 ms)`. */
function stretchInWords({ begin, end }) {
  return `${formatTime(begin)} to ${formatTime(end)} (${formatTime(end - begin)})`;
}
