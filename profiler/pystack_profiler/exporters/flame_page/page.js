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
    this.side = recording.sides ? 1 : -1; // of a comparison: the one whose widths are shown
    this.search = new Search(recording, "", false);
    this.zoom = 0;
    this.selected = -1;
    this.hovered = -1;
    this.graph = byId("graph");
    this.painter = new Painter(byId("canvas"));
    this.tip = new Tip(byId("tip"));
    this.threadPanel = new ThreadPanel(recording, () => this.rebuild());
    this.timeline = new Timeline(recording, this.tip, (stretch) => this.choose(stretch));
    this.setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  }

  /** Shows a stretch of time, { begin, end }, or all of it (null). */
  choose(stretch) {
    this.shown = stretch === null ? this.recording : this.recording.during(stretch.begin, stretch.end);
    this.rebuild();
  }

  /** Call this after a change of mode, threads, granularity or time. */
  rebuild() {
    const { mode, byLine, threadRoots, side } = this;
    this.calls = new CallTree(this.shown, { mode, byLine, threadRoots, side, threads: this.threadPanel.chosen });
    this.inverted = null;
    this.threadPanel.update(mode);
    byId("nothing").textContent = mode === "blame" && this.shown !== this.recording
      ? "Who held the GIL while others waited is known of the whole time only."
      : `No time in this view: the chosen threads have no ${MODE_TITLES[mode]} time.`;
    byId("nothing").hidden = this.calls.total(0) > 0;
    this.turn();
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
      const side = this.side < 0 ? "" : ` ${["before", "after"][this.side]}`;
      const title = `${this.isInverted ? "innermost frames of " : ""}all chosen threads${side} · ${formatTime(tree.total(0))}`;
      this.painter.draw({ tree, rows, ancestors, search, selected, hovered, title, changes }, this.palette, this.graph.scrollTop);
    });
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
    const { tree, calls } = this;
    const whole = calls.total(0);
    const total = tree.total(node);
    if (node === tree.root) return { name: "all chosen threads", position: "", total, lines: [], shares: [["all", formatTime(total), "100 %"]] };
    const label = tree.label(node);
    const shares = [["total", formatTime(total), formatShare(total, whole)]];
    if (this.changes) shares.unshift(...this.#changeOf(node));
    if (!this.isInverted) shares.push(["self", formatTime(tree.self(node)), formatShare(tree.self(node), whole)]);
    if (this.zoom !== tree.root) shares.push(["of the zoom", "", formatShare(total, tree.total(this.zoom))]);
    const everywhere = weightOfLabel(calls, label);
    if (Math.round(everywhere) > Math.round(total)) shares.push(["all occurrences", formatTime(everywhere), formatShare(everywhere, whole)]);
    return { name: label.name, position: label.position, total, shares, lines: this.byLine ? [] : tree.lines(node) };
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
    const whole = this.calls.total(0);
    let text = `${formatShare(this.found[0], whole)} found`;
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

/** The box at the end of `path`, or the last existing box on it. */
function follow(tree, path) {
  let node = tree.root;
  for (const label of path) {
    const next = tree.children(node).find((child) => tree.label(child) === label);
    if (next === undefined) return node;
    node = next;
  }
  return node;
}

function depthOf(tree, node) {
  let depth = 0;
  for (; node > 0; node = tree.parent(node)) depth++;
  return depth;
}
