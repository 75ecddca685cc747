// The table of functions beside the graph, and the callers and callees of one of them.

const MOST_FUNCTIONS = 300;
const COLUMNS = [
  { key: "self", title: "Self", help: "Time in which the function itself ran or waited" },
  { key: "total", title: "Total", help: "Time in the function and all that it called; recursive calls count once" },
  { key: "gil", title: "GIL", help: "The part of the self time in which the thread held the GIL" },
  { key: "waits", title: "Waits", help: "The part of the self time in which the thread waited: for a lock, a socket, time" },
  { key: "name", title: "Function", help: "Name and place" },
];

class FunctionTable {
  /** `onOpen(label)` is called to show a function (null: all), `onSort()` after a change of `sort`. */
  constructor(panel, recording, { onOpen, onSort }) {
    this.panel = panel;
    this.onOpen = onOpen;
    this.onSort = onSort;
    this.columns = COLUMNS.filter(({ key }) => !["gil", "waits"].includes(key) || recording.modes.includes(key));
    this.sort = "self";
    this.opened = null;
    this.rows = []; // GrowingRows of the tables that are shown
    panel.addEventListener("keydown", (event) => this.#onKey(event));
    panel.addEventListener("scroll", () => this.#fill(), { passive: true });
  }

  /** Shows the functions of a picture that its search finds, or the callers and callees of the one that is open. */
  show({ totals, details, base, choices: { search } }) {
    this.base = base;
    if (details === null) this.opened = null;
    const focused = document.activeElement;
    const hadFocus = focused !== null && this.panel.contains(focused);
    this.rows = [];
    if (this.opened === null) this.#showAll(totals.rows().filter(({ label }) => search.isEmpty || search.finds(label)));
    else this.#showOne(totals, details);
    if (hadFocus) this.focus();
    requestAnimationFrame(() => this.#fill());
  }

  #fill() {
    for (const rows of this.rows) rows.fill(this.panel);
  }

  /** Moves the focus to the row of `label`, or to the first one. */
  focus(label = null) {
    if (label !== null && this.opened === null && this.rows.length > 0) this.rows[0].reach(this.labels.indexOf(label));
    const row = label === null ? null : this.panel.querySelector(`[data-label="${label.index}"]`);
    const first = row || this.panel.querySelector("tbody tr[tabindex]") || this.panel.querySelector("button");
    if (first) first.focus();
  }

  #showAll(rows) {
    const byName = this.sort === "name";
    rows.sort((one, other) => (byName ? 0 : other[this.sort] - one[this.sort] || other.total - one.total) || compareNames(one.label, other.label));
    const head = this.columns.map(({ key, title, help }) => element("th", { "aria-sort": key === this.sort ? (byName ? "ascending" : "descending") : "none" },
      element("button", { title: `${help}. Click to sort`, "data-sort": key, click: () => this.#sortBy(key) }, title)));
    const shown = rows.slice(0, MOST_FUNCTIONS);
    this.labels = shown.map(({ label }) => label);
    const body = this.#body(shown.map((row) => () => this.#row(row.label,
      this.columns.map(({ key }) => (key === "name" ? nameCell(row.label) : this.#cell(row[key]))))));
    const rest = rows.length - shown.length;
    this.panel.replaceChildren(
      element("table", {}, element("thead", {}, element("tr", {}, ...head)), body),
      element("p", { class: "note" }, rows.length === 0 ? "No function" : rest > 0 ? `${formatCount(rest)} more; the search narrows the list` : ""));
  }

  #showOne(totals, { label, callers, callees, lines }) {
    const total = totals.totals[label.index];
    const back = element("button", { title: "All functions (Backspace)", click: () => this.onOpen(null) }, "← All functions");
    const facts = `total ${this.base.share(total)}, self ${this.base.share(totals.selves[label.index])}`;
    this.panel.replaceChildren(
      element("div", { class: "opened" }, back, element("b", {}, label.name), element("div", { class: "position" }, label.position), facts),
      ...this.#neighbours("Callers", "none: it is the outermost", callers),
      ...this.#neighbours("Callees", "none", callees),
      ...sourceSection(totals.calls.recording, label, lines, this.base));
  }

  #neighbours(title, none, times) {
    const makers = times.slice(0, MOST_FUNCTIONS).map(({ label, time }) => () => {
      const cells = [this.#cell(time), label === null ? element("td", { class: "name muted" }, none) : nameCell(label)];
      return label !== null && (isFunction(label) || label.kind === "gc") ? this.#row(label, cells) : element("tr", {}, ...cells);
    });
    const rest = times.length - makers.length;
    if (makers.length === 0) makers.push(() => element("tr", {}, element("td", { class: "name muted" }, none)));
    if (rest > 0) makers.push(() => element("tr", {}, element("td", { class: "name muted", colspan: 2 }, `${formatCount(rest)} more`)));
    return [element("h3", {}, title), element("table", { "aria-label": title }, this.#body(makers))];
  }

  #body(makers) {
    const rows = new GrowingRows(makers);
    this.rows.push(rows);
    return rows.body;
  }

  #row(label, cells) {
    return element("tr", { tabindex: 0, "data-label": label.index, click: () => this.onOpen(label) }, ...cells);
  }

  #cell(time) {
    const cell = element("td", { class: "number", title: formatTime(time) }, time > 0 ? this.base.share(time) : "");
    cell.style.setProperty("--share", `${Math.min(100, this.base.time > 0 ? (100 * time) / this.base.time : 0)}%`);
    return cell;
  }

  #sortBy(key) {
    this.sort = key;
    this.onSort();
    this.panel.querySelector(`[data-sort=${key}]`).focus();
  }

  #onKey(event) {
    const row = event.target.closest("tr[tabindex]");
    if (event.key === "Backspace" && this.opened !== null) this.onOpen(null);
    else if (row === null) return;
    else if (event.key === "Enter") row.click();
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const growing = this.rows.find(({ body }) => body.contains(row));
      if (growing && row === growing.body.lastElementChild) growing.grow();
      const rows = [...this.panel.querySelectorAll("tr[tabindex]")];
      const next = rows[rows.indexOf(row) + (event.key === "ArrowDown" ? 1 : -1)];
      if (next) next.focus();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

function nameCell(label) {
  const place = label.line >= 0 ? `${label.fileName}:${label.line}` : label.fileName;
  const isInName = label.function.endsWith(`${label.fileName})`); // "<module> (app.py)"
  return element("td", { class: "name", title: label.position ? `${label.name}\n${label.position}` : label.name },
    label.name, ...(isInName ? [] : [" ", element("span", { class: "position" }, place)]));
}

function compareNames(one, other) {
  return one.name < other.name ? -1 : one.name > other.name ? 1 : one.index - other.index;
}
