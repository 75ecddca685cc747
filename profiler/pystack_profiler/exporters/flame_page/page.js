// The state of the page, and how it changes by clicks and keys.

const MODE_TITLES = {
  wall: "Wall", cpu: "CPU", gil: "GIL", runnable: "Runnable", waits: "Waits", blame: "Blocking", tasks: "Tasks",
};
const MODE_HELP = {
  wall: "All time", cpu: "Time on a CPU", gil: "Time with the GIL",
  runnable: "Time in which a thread was ready to run, but had no CPU",
  waits: "Time in which a thread waited: the innermost box says for what",
  tasks: "Time of the tasks of event loops, of all the time that was recorded: the innermost box says what they await",
  blame: "Time that other threads waited for the GIL or a lock while this code held it",
};

class Page {
  constructor(recording) {
    this.recording = recording;
    /** @type {Picture | null} */
    this.picture = null;
    this.work = new Work((isBusy) => document.documentElement.classList.toggle("busy", isBusy));
    this.stretch = null; // of the time, { begin, end }; null: all
    this.mode = recording.firstMode;
    this.byLine = recording.initial.lines;
    this.threadRoots = recording.initial.threads;
    this.isInverted = false;
    this.showsIdle = false;
    this.showsMachinery = false; // of imports and thread starts
    this.onlyMine = false;
    this.side = recording.sides ? 1 : -1; // of a comparison: the one whose widths are shown
    this.search = new Search(recording, "", false);
    /** @type {ViewLink | null} */
    this.link = null; // set when the first view is shown
    this.searchProblem = "";
    this.zoom = 0;
    /** @type {string[] | null} */
    this.wantedZoom = null; // names of the boxes to zoom to when the next picture is there
    /** @type {Label | null | undefined} */
    this.wantedRow = undefined; // of the table, to get the focus when it is there; null: the first; undefined: none
    this.selected = -1;
    this.hovered = -1;
    this.graph = byId("graph");
    this.painter = new Painter(byId("canvas"));
    this.tip = new Tip(byId("tip"));
    this.threadPanel = new ThreadPanel(recording, () => this.update());
    this.table = new FunctionTable(byId("functions"), recording, {
      onOpen: (label) => this.open(label), onSort: () => this.showFunctions(),
    });
    this.timeline = new Timeline(recording, this.tip, (stretch) => this.choose(stretch));
    this.setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  }

  get tree() { return this.picture.tree; }
  get calls() { return this.picture.calls; }
  get base() { return this.picture.base; }
  get idleTime() { return this.picture.idleTime; }
  get found() { return this.picture.found; }
  get changes() { return this.picture.changes; }

  /** Shows a stretch of time, { begin, end }, or all of it (null). */
  choose(stretch) {
    this.stretch = stretch;
    this.update();
  }

  /**
   * Call this after a change of what is shown: mode, threads, granularity, time, what is folded, direction, search. A large picture
   * is made while the one before can still be used.
   */
  update() {
    this.work.start(this.#updated());
  }

  *#updated() {
    const picture = yield* Picture.made(this.recording, this.#choices(), this.picture);
    const isTurned = this.picture === null || this.tree !== picture.tree;
    const first = this.#zoomIn(picture.tree);
    const rows = isTurned ? yield* layingOut(picture.tree, first, this.graph.clientWidth) : this.rows;
    // A click on the picture before may have changed the zoom meanwhile.
    const zoom = this.#zoomIn(picture.tree);
    const isKnown = zoom === (isTurned ? first : this.zoom);
    this.#show(picture, isTurned, zoom, isKnown ? rows : null);
    yield* picture.calls.weighed();
  }

  /** The box of the tree to zoom to: the same as now, if it exists. */
  #zoomIn(tree) {
    if (this.wantedZoom !== null) return follow(tree, this.wantedZoom, nameOfLabel);
    if (this.picture === null || this.tree.constructor !== tree.constructor) return 0;
    return this.tree === tree ? this.zoom : follow(tree, pathOf(this.tree, this.zoom));
  }

  /** `rows`: those of the tree in this zoom; null: not known. */
  #show(picture, isTurned, zoom, rows) {
    const isWanted = this.wantedZoom !== null;
    this.picture = picture;
    this.zoom = zoom;
    this.wantedZoom = null;
    if (isTurned) {
      this.selected = this.hovered = -1;
      this.tip.hide();
    }
    this.threadPanel.update(picture.choices.mode);
    this.#describe();
    if (picture.totals !== null) this.#showTable();
    this.lay(rows);
    if (isWanted) this.#scrollToZoom();
  }

  #choices() {
    const { stretch, mode, threadRoots, side, byLine, isInverted, search, onlyMine } = this;
    const threads = [...this.threadPanel.chosen].sort((one, other) => one - other);
    return {
      stretch, mode, threads, threadRoots, side, byLine, onlyMine, isInverted, search,
      idle: this.showsIdle, machinery: this.showsMachinery, functions: !byId("functions").hidden,
      opened: this.table.opened,
    };
  }

  /** Says what per cents are of, and what is left out. */
  #describe() {
    byId("base").textContent = this.base.explanation;
    byId("base").title = `Times of several ${this.base.units} add up: 2.1 ${this.base.units} means 210 %`;
    const { mode, idle } = this.picture.choices;
    byId("idle").checked = this.showsIdle;
    byId("idle-toggle").hidden = this.idleTime === 0;
    byId("idle-text").textContent = `Idle: ${this.base.share(this.idleTime)}${idle ? "" : ", show"}`;
    byId("nothing").hidden = this.calls.total(0) > 0;
    byId("nothing").textContent = mode === "blame" && this.picture.shown !== this.recording
      ? "Who held what others waited for is known of the whole time only."
      : this.idleTime > 0
        ? `The chosen threads were idle all the time: they waited for work in a pool or an event loop.${this.#hintAtTasks()}`
        : `No time in this view: the chosen threads have no ${MODE_TITLES[mode]} time.`;
  }

  #hintAtTasks() {
    const { modes } = this.recording;
    return modes.includes("tasks") ? "" : " What the tasks of asyncio and trio wait for is recorded with --tasks.";
  }

  /** Shows the callers and callees of a function in the table, or with null all functions. */
  open(label) {
    this.wantedRow = label === null ? this.table.opened : null;
    this.table.opened = label;
    if (label !== null) byId("functions").hidden = false;
    this.showFunctions();
  }

  /** Call this after the table of functions was shown, hidden or sorted. */
  showFunctions() {
    const isShown = !byId("functions").hidden;
    byId("show-functions").checked = isShown;
    const { totals, choices } = this.picture;
    if (isShown && (totals === null || choices.opened !== this.table.opened || this.work.isBusy)) {
      this.update();
      return;
    }
    if (isShown) this.#showTable();
    this.redraw();
    if (this.link) this.link.update();
  }

  focusTable() {
    this.wantedRow = null;
    if (this.picture.totals === null || this.work.isBusy) this.update();
    else this.#showTable();
  }

  #showTable() {
    this.table.show(this.picture);
    if (this.wantedRow !== undefined) this.table.focus(this.wantedRow);
    this.wantedRow = undefined;
  }

  zoomTo(node) {
    this.zoom = node;
    this.hovered = -1;
    this.tip.hide();
    this.lay();
    this.#scrollToZoom();
  }

  #scrollToZoom() {
    const row = this.ancestors;
    const top = row * ROW_HEIGHT;
    if (top < this.graph.scrollTop || top > this.graph.scrollTop + this.painter.height - 3 * ROW_HEIGHT) {
      this.graph.scrollTop = Math.max(0, top - 2 * ROW_HEIGHT);
    }
  }

  /** Call this after a change of the window or the zoom. `known`: the rows, if they are. */
  lay(known = null) {
    const width = this.graph.clientWidth;
    const height = this.graph.clientHeight;
    if (width !== this.painter.width || height !== this.painter.height) this.painter.resize(width, height);
    this.rows = known === null ? layOut(this.tree, this.zoom, width) : known;
    this.ancestors = depthOf(this.tree, this.zoom);
    byId("spacer").style.height = `${Math.max(height, (this.rows.length + 1) * ROW_HEIGHT)}px`;
    byId("reset").disabled = this.zoom === 0;
    if (this.link) this.link.update();
    this.showMatches();
    this.showSelected();
    this.redraw();
  }

  redraw() {
    if (this.isDrawing) return;
    this.isDrawing = true;
    requestAnimationFrame(() => {
      this.isDrawing = false;
      const { tree, rows, ancestors, selected, hovered, changes } = this;
      const { search } = this.picture.choices;
      const title = `${this.picture.choices.isInverted ? "innermost frames of " : ""}${this.#whole} · ${formatTime(tree.total(0))}`;
      const scene = { tree, rows, ancestors, search, selected, hovered, title, changes, opened: this.table.opened };
      this.painter.draw(scene, this.palette, this.graph.scrollTop);
    });
  }

  /** What the outermost box stands for. */
  get #whole() {
    const { threads: chosen, mode, side, idle } = this.picture.choices;
    if (mode === "tasks") return "all tasks";
    const threads = chosen.length === 1 ? this.recording.threads[chosen[0]].title : "all chosen threads";
    const which = side < 0 ? "" : ` ${["before", "after"][side]}`;
    return `${threads}${which}${this.idleTime > 0 && !idle ? " without idle time" : ""}`;
  }

  setTheme(name) {
    document.documentElement.dataset.theme = name;
    this.palette = new Palette(name);
    this.timeline.setTheme(this.palette);
    byId("legend").replaceChildren(...this.legendEntries());
    if (this.rows) this.redraw();
  }

  legendEntries() {
    if (this.recording.sides) {
      return [[0.1, "larger share"], [-0.1, "smaller share"], [0, "within chance"]].map(([change, title]) => {
        const swatch = element("i");
        swatch.style.background = this.palette.change(change, false);
        return element("span", {}, swatch, title);
      });
    }
    const kinds = new Set(this.recording.labels.map((label) => label.kind));
    if (this.recording.threads.every((thread) => thread.idle === 0)) kinds.delete("idle");
    return KINDS.filter(({ kind }) => kinds.has(kind) && kind !== "thread" && kind !== "process").map(({ kind, title }) => {
      const swatch = element("i");
      swatch.style.background = this.palette.legend(kind);
      return element("span", {}, swatch, title);
    });
  }

  /** Everything to show about a box. Cached, because each mouse move asks for it. */
  facts(node) {
    const { tree, zoom } = this;
    if (!this.known || this.known.tree !== tree || this.known.zoom !== zoom || this.known.node !== node) {
      this.known = { tree, zoom, node, facts: this.#facts(node) };
    }
    return this.known.facts;
  }

  #facts(node) {
    const { tree, calls, base } = this;
    const total = tree.total(node);
    const part = (name, time) => [name, formatTime(time), base.share(time)];
    const shares = [part("total", total)];
    if (node === tree.root) return { name: this.#whole, position: "", total, lines: [], shares };
    const label = tree.label(node);
    if (this.changes) shares.unshift(...this.#changeOf(node));
    if (tree === calls && isFunction(label)) shares.push(...this.#selfOf(node).map(([name, time]) => part(name, time)));
    if (this.zoom !== tree.root && isInside(tree, node, this.zoom)) shares.push(["of the zoom", "", formatShare(total, tree.total(this.zoom))]);
    const everywhere = weightOfLabel(calls, label);
    if (Math.round(everywhere) > Math.round(total)) shares.push(part("all occurrences", everywhere));
    return { name: label.name, position: label.position, total, shares, lines: this.byLine ? [] : tree.lines(node) };
  }

  /** The self time of a function, and what of it is waiting, where the recording says for what. */
  #selfOf(node) {
    const { tree } = this;
    const waits = [...tree.children(node)].filter((child) => tree.label(child).kind === "wait");
    const waited = sum(waits.map((child) => tree.total(child)));
    return [["self", tree.self(node) + waited], ...(waited > 0 ? [["of it waiting", waited]] : [])];
  }

  #changeOf(node) {
    const [before, after] = this.changes.shares(node);
    const margin = 100 * this.changes.margin(node);
    return [
      ["before", "", formatShare(before, 1)], ["after", "", formatShare(after, 1)],
      ["change", formatPoints(after - before), `±${margin.toFixed(2)} by chance`],
    ];
  }

  showMatches() {
    const matches = byId("matches");
    if (this.found === null) {
      matches.textContent = this.searchProblem;
      return;
    }
    let text = `${this.base.share(this.found[0])} found`;
    if (this.zoom !== 0 && this.tree === this.calls) text += `, ${formatShare(this.found[this.zoom], this.calls.total(this.zoom))} of the zoom`;
    matches.textContent = this.found[0] > 0 ? text : "not found";
  }

  showSelected() {
    const node = this.selected >= 0 ? this.selected : this.hovered;
    const status = byId("status");
    if (node < 0) {
      status.textContent = "";
      return;
    }
    const { name, position, shares } = this.facts(node);
    const words = shares.map(([what, time, share]) => `${what} ${[time, share].filter(Boolean).join(", ")}`);
    status.replaceChildren(element("b", {}, name), ` ${position ? `${position} — ` : ""}${words.join("; ")}`);
  }
}

/** The labels from the outermost box to `node`. */
function pathOf(tree, node) {
  const path = [];
  for (; node > 0; node = tree.parent(node)) path.unshift(tree.label(node));
  return path;
}

/** The box at the end of `path`, labels or what `keyOf` makes of them, or the last existing box on it. */
function follow(tree, path, keyOf = (label) => label) {
  let node = tree.root;
  for (const key of path) {
    const next = tree.children(node).find((child) => keyOf(tree.label(child)) === key);
    if (next === undefined) return node;
    node = next;
  }
  return node;
}

/** Whether a box is below `outer`. */
function isInside(tree, node, outer) {
  while (node > 0 && node !== outer) node = tree.parent(node);
  return node === outer;
}

function depthOf(tree, node) {
  let depth = 0;
  for (; node > 0; node = tree.parent(node)) depth++;
  return depth;
}
