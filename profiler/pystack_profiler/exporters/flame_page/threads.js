// The panel for choosing threads.

const MANY_THREADS = 12;
const PANEL_MARGIN = 8;

class ThreadPanel {
  /** `onChange` is called after a change of `chosen`, the set of thread indices. */
  constructor(recording, onChange) {
    this.recording = recording;
    this.onChange = onChange;
    this.chosen = new Set(recording.threads.map((thread) => thread.index));
    this.rows = [];
    this.#build();
    byId("threads-all").addEventListener("click", () => this.#choose(this.#listed()));
    byId("threads-none").addEventListener("click", () => this.#choose([]));
    byId("thread-query").addEventListener("input", () => this.#filter());
    byId("thread-query").hidden = recording.threads.length < MANY_THREADS;
    byId("threads").addEventListener("toggle", () => this.#keepInside());
    document.addEventListener("click", (event) => {
      if (!byId("threads").contains(event.target)) byId("threads").open = false;
    });
  }

  /** Shows each thread's time in `mode`, without idle time; the bar is its share of the recording's time. */
  update(mode) {
    const { threads, time } = this.recording;
    byId("threads").hidden = mode === "tasks";
    for (const { thread, box, bar, share } of this.rows) {
      const isIdle = thread.totals[mode] === 0 && thread.idleIn(mode) > 0;
      box.checked = this.chosen.has(thread.index);
      bar.style.width = `${time > 0 ? Math.min(100, (100 * thread.totals[mode]) / time) : 0}%`;
      share.textContent = isIdle ? "idle" : formatTime(thread.totals[mode]);
      share.title = thread.idleIn(mode) > 0 ? `idle: ${formatTime(thread.idleIn(mode))}` : "";
    }
    const [only] = this.chosen;
    byId("threads-summary").textContent =
      this.chosen.size === 1 ? threads[only].title
      : this.chosen.size === threads.length ? `All ${threads.length} threads`
      : `${this.chosen.size} of ${threads.length} threads`;
  }

  #build() {
    const list = byId("thread-list");
    let process = null;
    for (const thread of this.recording.threads) {
      if (this.recording.processes.length > 1 && thread.process !== process) {
        process = thread.process;
        list.append(this.#processRow(process));
      }
      const box = element("input", { type: "checkbox", change: () => this.#toggle(thread.index, box.checked) });
      const bar = element("i");
      const share = element("span", { class: "share" });
      const row = element("div", { class: "thread" },
        element("label", {}, box, element("span", { class: "name", title: thread.title }, thread.title), share),
        element("button", { title: "Show this thread only", click: () => this.#choose([thread.index]) }, "only"),
        element("div", { class: "bar" }, bar));
      list.append(row);
      this.rows.push({ thread, row, box, bar, share });
    }
  }

  #processRow(process) {
    const members = this.recording.threads.filter((thread) => thread.process === process).map((thread) => thread.index);
    return element("div", { class: "process" }, element("span", {}, process.title),
      element("button", { title: "Show this process only", click: () => this.#choose(members) }, "only"));
  }

  #filter() {
    const part = byId("thread-query").value.toLowerCase();
    for (const { thread, row } of this.rows) {
      row.hidden = !`${thread.title} ${thread.process.title}`.toLowerCase().includes(part);
    }
  }

  #listed() {
    return this.rows.filter(({ row }) => !row.hidden).map(({ thread }) => thread.index);
  }

  /** Moves the panel to the left, if it reaches out of the window. */
  #keepInside() {
    const panel = byId("threads-panel");
    const { style } = panel;
    style.translate = "";
    const outside = panel.getBoundingClientRect().right + PANEL_MARGIN - document.documentElement.clientWidth;
    if (outside > 0) style.translate = `${-outside}px`;
  }

  #toggle(index, isChosen) {
    if (isChosen) this.chosen.add(index);
    else this.chosen.delete(index);
    this.onChange();
  }

  #choose(indices) {
    this.chosen = new Set(indices);
    this.onChange();
  }
}
