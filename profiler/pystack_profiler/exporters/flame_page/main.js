const recording = new Recording(JSON.parse(byId("recording").textContent));
byId("recording").remove(); // The text can be large, and is not needed any more.
document.title = recording.title;
byId("title").textContent = recording.title;
byId("facts").textContent = recording.sides ? sidesLine(recording.sides) : factsLine(recording.metadata);
fillInfo(recording);

const page = new Page(recording);
listen(page);
page.update();
page.work.finish(() => page.picture !== null);
page.link = linkOf(page);
if (location.hash) page.link.restore();

/** For tests and the console: the boxes and their positions on the page. */
/** @type {any} */ (window).flameGraph = {
  page,
  boxes() {
    page.work.finish();
    const { left, top } = page.graph.getBoundingClientRect();
    return page.rows.flatMap((row, depth) => row.node.map((node, index) => ({
      name: node < 0 ? null : node === 0 ? "" : page.tree.label(node).name,
      depth,
      x: left + row.x[index],
      y: top + depth * ROW_HEIGHT - page.graph.scrollTop,
      width: row.width[index],
      height: ROW_HEIGHT,
      time: node < 0 ? null : page.tree.total(node),
    })));
  },
};
