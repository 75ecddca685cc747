// Mouse, keys and controls.

/** Checkboxes, and the fields of the page that they set. */
const VIEW_TOGGLES = [
  { id: "lines", field: "byLine" },
  { id: "thread-roots", field: "threadRoots" },
  { id: "idle", field: "showsIdle" },
  { id: "machinery", field: "showsMachinery" },
  { id: "mine", field: "onlyMine" },
];

function listen(page) {
  listenToMouse(page);
  listenToControls(page);
  document.addEventListener("keydown", (event) => onKey(page, event));
  new ResizeObserver(() => page.lay()).observe(page.graph);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", (event) => page.setTheme(event.matches ? "dark" : "light"));
}

function listenToMouse(page) {
  const nodeAt = (event) => {
    const { left, top } = page.graph.getBoundingClientRect();
    const row = page.rows[Math.floor((event.clientY - top + page.graph.scrollTop) / ROW_HEIGHT)];
    const index = row ? row.at(event.clientX - left) : -1;
    return index >= 0 ? row.node[index] : -1;
  };
  const canvas = byId("canvas");
  canvas.addEventListener("mousemove", (event) => {
    const node = nodeAt(event);
    canvas.style.cursor = node >= 0 ? "pointer" : "default";
    if (node < 0) page.tip.hide();
    else page.tip.show(page.facts(node), event.clientX, event.clientY);
    if (node !== page.hovered) {
      page.hovered = node;
      page.showSelected();
      page.redraw();
    }
  });
  canvas.addEventListener("mouseleave", () => {
    page.hovered = -1;
    page.tip.hide();
    page.showSelected();
    page.redraw();
  });
  canvas.addEventListener("click", (event) => {
    const node = nodeAt(event);
    if (node < 0) return;
    page.selected = -1;
    page.zoomTo(node);
  });
  page.graph.addEventListener("scroll", () => {
    page.tip.hide();
    page.redraw();
  });
}

function listenToControls(page) {
  for (const mode of page.recording.modes) {
    const radio = element("input", {
      type: "radio", name: "mode", id: `mode-${mode}`, checked: mode === page.mode,
      change: () => {
        page.mode = mode;
        page.update();
      },
    });
    byId("modes").append(element("label", { title: MODE_HELP[mode] }, radio, element("span", {}, MODE_TITLES[mode])));
  }
  if (page.recording.sides) listenToSides(page);
  for (const { id, field } of VIEW_TOGGLES) {
    byId(id).checked = page[field];
    byId(id).addEventListener("change", (event) => {
      page[field] = event.target.checked;
      page.update();
    });
  }
  byId("show-functions").addEventListener("change", (event) => {
    byId("functions").hidden = !event.target.checked;
    page.showFunctions();
  });
  for (const id of ["callees", "callers"]) {
    byId(id).addEventListener("change", () => {
      page.isInverted = byId("callers").checked;
      page.update();
    });
  }
  byId("query").addEventListener("input", () => search(page));
  byId("regex").addEventListener("change", () => search(page));
  byId("reset").addEventListener("click", () => page.zoomTo(0));
  byId("theme").addEventListener("click", () => toggleTheme(page));
  byId("show-info").addEventListener("click", () => byId("info").showModal());
  byId("show-help").addEventListener("click", () => byId("help").showModal());
  for (const button of document.querySelectorAll("[data-close]")) {
    button.addEventListener("click", () => button.closest("dialog").close());
  }
}

/** A comparison shows the widths of one side. The threads of both are others, so they are no roots. */
function listenToSides(page) {
  byId("thread-roots").parentElement.hidden = true;
  page.threadRoots = false;
  for (const side of [0, 1]) {
    const radio = element("input", {
      type: "radio", name: "side", id: `side-${side}`, checked: side === page.side,
      change: () => {
        page.side = side;
        page.update();
      },
    });
    const title = `Widths are the time of ${page.recording.sides[side].title}`;
    byId("sides").append(element("label", { title }, radio, element("span", {}, ["Before", "After"][side])));
  }
  byId("sides").hidden = false;
}

function search(page) {
  const query = byId("query");
  page.searchProblem = "";
  try {
    page.search = new Search(page.recording, query.value, byId("regex").checked);
  } catch {
    page.searchProblem = "not a valid regular expression";
    page.search = new Search(page.recording, "", false);
  }
  query.setCustomValidity(page.searchProblem);
  page.update();
}

function toggleTheme(page) {
  page.setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
}

function onKey(page, event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const isTyping = event.target.matches("input[type=search]");
  if (event.key === "Escape") {
    escapeOne(page);
  } else if (isTyping) {
    if (event.key !== "Enter" || event.target.id !== "query") return;
    page.graph.focus();
    nextMatch(page, 1);
  } else if (Object.hasOwn(KEYS, event.key) && !(event.target.matches("button, summary") && event.key === "Enter")) {
    KEYS[event.key](page);
  } else {
    return;
  }
  event.preventDefault();
}

/** Undoes one thing: an open panel, the search, the zoom, the stretch of time, or the selection. */
function escapeOne(page) {
  if (byId("threads").open) byId("threads").open = false;
  else if (byId("query").value) {
    byId("query").value = "";
    search(page);
  } else if (page.zoom !== 0) page.zoomTo(0);
  else if (!page.timeline.escape()) {
    page.selected = -1;
    page.lay();
  }
  if (document.activeElement instanceof HTMLElement) document.activeElement.blur();
}

const KEYS = {
  "/": () => byId("query").select(),
  "n": (page) => nextMatch(page, 1),
  "N": (page) => nextMatch(page, -1),
  "i": () => byId(byId("callers").checked ? "callees" : "callers").click(),
  "l": () => byId("lines").click(),
  "t": (page) => !page.recording.sides && byId("thread-roots").click(),
  "m": () => byId("mine").click(),
  "b": () => byId("machinery").click(),
  "u": (page) => page.idleTime > 0 && byId("idle").click(),
  // To the table, and from there: away with it.
  "s": (page) => {
    const table = byId("functions");
    if (table.hidden || table.contains(document.activeElement)) byId("show-functions").click();
    if (!table.hidden) page.focusTable();
    else page.graph.focus();
  },
  "o": (page) => page.selected > 0 && isFunction(page.tree.label(page.selected)) && page.open(page.tree.label(page.selected)),
  "f": () => byId("threads").querySelector("summary").click(),
  "w": () => byId("timeline-rows").focus(),
  "r": () => byId("show-info").click(),
  "d": toggleTheme,
  "?": () => byId("show-help").click(),
  "0": (page) => page.zoomTo(0),
  "Home": (page) => page.zoomTo(0),
  "Backspace": (page) => page.zoom !== 0 && page.zoomTo(page.tree.parent(page.zoom)),
  "Enter": (page) => page.selected >= 0 && page.zoomTo(page.selected),
  "ArrowDown": (page) => move(page, 0, 1),
  "ArrowUp": (page) => move(page, 0, -1),
  "ArrowLeft": (page) => move(page, -1, 0),
  "ArrowRight": (page) => move(page, 1, 0),
};
["wall", "cpu", "gil", "blame", "runnable", "waits", "tasks"].forEach((mode, index) => {
  KEYS[index + 1] = () => byId(`mode-${mode}`) && byId(`mode-${mode}`).click();
});

/** Where the selected box is drawn: [row, index], or null. */
function placeOf(page, node) {
  for (let row = 0; row < page.rows.length; row++) {
    const index = page.rows[row].node.indexOf(node);
    if (index >= 0) return [row, index];
  }
  return null;
}

function move(page, across, down) {
  const place = page.selected >= 0 ? placeOf(page, page.selected) : null;
  if (place === null) {
    select(page, page.ancestors, 0);
    return;
  }
  const [rowIndex, index] = place;
  const row = page.rows[rowIndex];
  if (down !== 0) {
    const other = page.rows[rowIndex + down];
    // Down: the widest callee, which is below the left edge.
    const below = other ? other.at(row.x[index] + (down > 0 ? 0.01 : row.width[index] / 2)) : -1;
    const isChild = below >= 0 && (down < 0 || page.tree.parent(other.node[below]) === page.selected);
    if (isChild) select(page, rowIndex + down, below);
    return;
  }
  for (let next = index + across; next >= 0 && next < row.node.length; next += across) {
    if (row.node[next] >= 0) {
      select(page, rowIndex, next);
      return;
    }
  }
}

function nextMatch(page, direction) {
  const { search } = page.picture.choices;
  if (search.isEmpty) return;
  const places = [];
  page.rows.forEach((row, rowIndex) => row.node.forEach((node, index) => {
    if (node > 0 && search.finds(page.tree.label(node))) places.push([rowIndex, index, node]);
  }));
  if (places.length === 0) return;
  const current = places.findIndex(([, , node]) => node === page.selected);
  const next = current < 0 ? (direction > 0 ? 0 : places.length - 1) : (current + direction + places.length) % places.length;
  select(page, places[next][0], places[next][1]);
}

function select(page, rowIndex, index) {
  page.selected = page.rows[rowIndex].node[index];
  const top = rowIndex * ROW_HEIGHT;
  if (top < page.graph.scrollTop) page.graph.scrollTop = top;
  else if (top + 2 * ROW_HEIGHT > page.graph.scrollTop + page.painter.height) {
    page.graph.scrollTop = top + 2 * ROW_HEIGHT - page.painter.height;
  }
  page.tip.hide();
  page.showSelected();
  page.redraw();
}
