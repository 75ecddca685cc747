// The state of the page, and how it changes by clicks and keys.

const MODE_TITLES = {
  wall: "Wall", cpu: "CPU", gil: "GIL", runnable: "Runnable", waits: "Waits", blame: "Blocking",
};
const MODE_HELP = {
  wall: "All time", cpu: "Time on a CPU", gil: "Time with the GIL",
  runnable: "Time in which a thread was ready to run, but had no CPU",
  waits: "Time in which a thread waited: the innermost box says for what",
  blame: "Time that other threads waited for the GIL while this code held it",
};

class Page {
  constructor(recording) {
    this.recording = recording;
    this.shown = recording; // of it, the stretch of time that is chosen
    this.mode = recording.initial.mode;
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
    this.zoom = 0;
    this.selected = -1;
    this.hovered = -1;
    this.graph = byId("graph");
    this.painter = new Painter(byId("canvas"));
    this.tip = new Tip(byId("tip"));
    this.threadPanel = new ThreadPanel(recording, () => this.rebuild());
    this.table = new FunctionTable(byId("functions"), recording, {
      onOpen: (label) => this.open(label), onSort: () => this.showFunctions(),
    });
    this.timeline = new Timeline(recording, this.tip, (stretch) => this.choose(stretch));
    this.setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  }

  /** Shows a stretch of time, { begin, end }, or all of it (null). */
  choose(stretch) {
    this.shown = stretch === null ? this.recording : this.recording.during(stretch.begin, stretch.end);
    this.rebuild();
  }

  /** Call this after a change of mode, threads, granularity, time or what is folded. */
  rebuild() {
    const { shown, mode, threadRoots, side } = this;
    const { chosen } = this.threadPanel;
    const threads = shown.threads.filter((thread) => chosen.has(thread.index) && thread.side === side);
    const visible = this.#visibleStacks();
    this.calls = new CallTree(shown, { mode, visible, threadRoots, side, idle: this.showsIdle, threads: chosen });
    this.base = shown.sides ? new Base(this.calls.total(0), "the time of all threads of this side") : Base.of(shown, chosen);
    this.idleTime = sum(threads.map((thread) => thread.idleIn(mode)));
    this.makeTotals = () => new FunctionTotals(this.calls, visible, threads, mode);
    this.totals = null; // made when the table is shown
    this.inverted = null;
    this.threadPanel.update(mode);
    this.#describe();
    this.turn();
  }

  /** Kept until what is folded changes. */
  #visibleStacks() {
    const folding = { byLine: this.byLine, machinery: this.showsMachinery, onlyMine: this.onlyMine };
    if (!this.visible || Object.keys(folding).some((key) => folding[key] !== this.visible.folding[key])) {
      this.visible = new VisibleStacks(this.recording, folding);
    }
    return this.visible;
  }

  /** Says what per cents are of, and what is left out. */
  #describe() {
    byId("base").textContent = this.base.explanation;
    byId("base").title = "Times of several threads add up: 2.1 threads means 210 %";
    byId("idle").checked = this.showsIdle;
    byId("idle-toggle").hidden = this.idleTime === 0;
    byId("idle-text").textContent = `Idle: ${this.base.share(this.idleTime)}${this.showsIdle ? "" : ", show"}`;
    byId("nothing").hidden = this.calls.total(0) > 0;
    byId("nothing").textContent = this.mode === "blame" && this.shown !== this.recording
      ? "Who held the GIL while others waited is known of the whole time only."
      : this.idleTime > 0
        ? "The chosen threads were idle all the time: they waited for work in a pool or an event loop."
        : `No time in this view: the chosen threads have no ${MODE_TITLES[this.mode]} time.`;
  }

  /** Shows the callers and callees of a function in the table, or with null all functions. */
  open(label) {
    const left = this.table.opened;
    this.table.opened = label;
    if (label !== null) byId("functions").hidden = false;
    this.showFunctions();
    this.table.focus(label === null ? left : null);
  }

  showFunctions() {
    const isShown = !byId("functions").hidden;
    byId("show-functions").checked = isShown;
    if (isShown) {
      this.totals ??= this.makeTotals();
      this.table.show(this.totals, this.search, this.base);
    }
    this.redraw();
    if (this.link) this.link.update();
  }

  /** Call this after a change of direction. Keeps the zoom if the same boxes still exist. */
  turn() {
    const path = this.tree ? pathOf(this.tree, this.zoom) : [];
    if (this.isInverted && this.inverted === null) this.inverted = new InvertedTree(this.calls);
    const before = this.tree;
    this.tree = this.isInverted ? this.inverted : this.calls;
    this.zoom = before && before.constructor === this.tree.constructor ? follow(this.tree, path) : 0;
    this.changes = this.side < 0 ? null : new Changes(this.tree, this.recording.sides, this.side);
    this.selected = this.hovered = -1;
    this.tip.hide();
    this.find();
  }

  /** Call this after a change of the search. */
  find() {
    this.found = this.search.isEmpty ? null : this.search.found(this.calls);
    this.showFunctions();
    this.lay();
  }

  zoomTo(node) {
    this.zoom = node;
    this.hovered = -1;
    this.tip.hide();
    this.lay();
    const row = this.ancestors;
    const top = row * ROW_HEIGHT;
    if (top < this.graph.scrollTop || top > this.graph.scrollTop + this.painter.height - 3 * ROW_HEIGHT) {
      this.graph.scrollTop = Math.max(0, top - 2 * ROW_HEIGHT);
    }
  }

  /** Call this after a change of the window or the zoom. */
  lay() {
    const width = this.graph.clientWidth;
    const height = this.graph.clientHeight;
    if (width !== this.painter.width || height !== this.painter.height) this.painter.resize(width, height);
    this.rows = layOut(this.tree, this.zoom, width);
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
      const { tree, rows, ancestors, search, selected, hovered, changes } = this;
      const title = `${this.isInverted ? "innermost frames of " : ""}${this.#whole} · ${formatTime(tree.total(0))}`;
      const scene = { tree, rows, ancestors, search, selected, hovered, title, changes, opened: this.table.opened };
      this.painter.draw(scene, this.palette, this.graph.scrollTop);
    });
  }

  /** What the outermost box stands for. */
  get #whole() {
    const { chosen } = this.threadPanel;
    const [only] = chosen;
    const threads = chosen.size === 1 ? this.recording.threads[only].title : "all chosen threads";
    const side = this.side < 0 ? "" : ` ${["before", "after"][this.side]}`;
    return `${threads}${side}${this.idleTime > 0 && !this.showsIdle ? " without idle time" : ""}`;
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
    if (!this.isInverted && isFunction(label)) shares.push(...this.#selfOf(node).map(([name, time]) => part(name, time)));
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
      matches.textContent = "";
      return;
    }
    let text = `${this.base.share(this.found[0])} found`;
    if (this.zoom !== 0 && !this.isInverted) text += `, ${formatShare(this.found[this.zoom], this.calls.total(this.zoom))} of the zoom`;
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
