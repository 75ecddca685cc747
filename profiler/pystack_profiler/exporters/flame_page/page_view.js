// The view of a page (see view_link.js): reads it from the page, and brings the page and its controls to it.

function linkOf(page) {
  return new ViewLink(viewOfPage(page), { read: () => viewOfPage(page), apply: (view) => showView(page, view) });
}

function viewOfPage(page) {
  const { chosen } = page.threadPanel;
  return {
    mode: page.mode,
    side: page.side,
    threads: chosen.size === page.recording.threads.length ? null : [...chosen].sort((one, other) => one - other),
    time: page.timeline.stretch,
    zoom: page.wantedZoom !== null ? page.wantedZoom : page.picture ? pathOf(page.tree, page.zoom).map(nameOfLabel) : [],
    query: byId("query").value,
    regex: byId("regex").checked,
    inverted: page.isInverted,
    lines: page.byLine,
    roots: page.threadRoots,
    idle: page.showsIdle,
    machinery: page.showsMachinery,
    mine: page.onlyMine,
    functions: !byId("functions").hidden,
    sort: page.table.sort,
    opened: page.table.opened ? nameOfLabel(page.table.opened) : "",
  };
}

/** What the recording does not have is left as it was. */
function showView(page, view) {
  const { recording } = page;
  if (recording.modes.includes(view.mode)) page.mode = view.mode;
  if (recording.sides && recording.sides[view.side]) page.side = view.side;
  const all = recording.threads.map((thread) => thread.index);
  page.threadPanel.chosen = new Set(view.threads === null ? all : view.threads.filter((index) => index < all.length));
  page.isInverted = view.inverted;
  page.byLine = view.lines;
  page.threadRoots = view.roots && !recording.sides;
  page.showsIdle = view.idle;
  page.showsMachinery = view.machinery;
  page.onlyMine = view.mine;
  if (page.table.columns.some(({ key }) => key === view.sort)) page.table.sort = view.sort;
  page.table.opened = view.opened ? recording.labels.find((label) => nameOfLabel(label) === view.opened) || null : null;
  byId("functions").hidden = !view.functions;
  byId("query").value = view.query;
  byId("regex").checked = view.regex;
  syncControls(page);
  page.wantedZoom = view.zoom;
  page.timeline.choose(recording.timeline ? boundedStretch(view.time, recording.timeline.duration) : null);
  search(page);
}

function boundedStretch(time, duration) {
  return time !== null && time.begin < duration ? { begin: time.begin, end: Math.min(time.end, duration) } : null;
}

function syncControls(page) {
  const mode = byId(`mode-${page.mode}`);
  if (mode) mode.checked = true;
  if (page.recording.sides) byId(`side-${page.side}`).checked = true;
  byId(page.isInverted ? "callers" : "callees").checked = true;
  for (const { id, field } of VIEW_TOGGLES) byId(id).checked = page[field];
}
