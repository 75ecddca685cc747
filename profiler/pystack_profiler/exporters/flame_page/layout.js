// The positions of boxes, in CSS pixels. Boxes that are too narrow to be seen are skipped, so that the work is bounded by the
// screen and not by the recording.

const ROW_HEIGHT = 20;
const NARROWEST = 0.7;
const STEPS_PER_BOX = 30; // as long as so many steps of a loop

/** Boxes side by side; `node` is -1 for a group of boxes that are too narrow to be drawn. */
class Row {
  constructor() {
    this.x = [];
    this.width = [];
    this.node = [];
  }

  add(x, width, node) {
    this.x.push(x);
    this.width.push(width);
    this.node.push(node);
  }

  /** The index of the box at `x`, or -1. */
  at(x) {
    let low = 0;
    let high = this.x.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.x[middle] <= x) low = middle + 1;
      else high = middle;
    }
    const index = low - 1;
    return index >= 0 && x < this.x[index] + this.width[index] ? index : -1;
  }
}

/** The rows from the root down: the ancestors of `zoom` and `zoom` itself over the full width, then what is below it. */
function layOut(tree, zoom, width) {
  return finish(layingOut(tree, zoom, width));
}

/** The same in steps (work.js). */
function* layingOut(tree, zoom, width) {
  const rows = [];
  for (let node = zoom; node !== -1; node = tree.parent(node)) {
    const row = new Row();
    row.add(0, width, node);
    rows.unshift(row);
  }
  const scale = tree.total(zoom) > 0 ? width / tree.total(zoom) : 0;
  let parents = rows[rows.length - 1];
  while (parents !== null) {
    const row = new Row();
    for (let index = 0; index < parents.node.length; index++) {
      if (parents.node[index] < 0) continue;
      if (tree.expanding) yield* tree.expanding(parents.node[index]);
      addChildren(row, tree, parents.node[index], parents.x[index], scale);
    }
    parents = row.node.length > 0 ? row : null;
    if (parents !== null) rows.push(row);
    yield STEPS_PER_BOX * row.node.length;
  }
  return rows;
}

function addChildren(row, tree, parent, x, scale) {
  const children = tree.children(parent);
  for (let index = 0; index < children.length; index++) {
    const width = tree.total(children[index]) * scale;
    if (width < NARROWEST) {
      // The widest come first: all that follow are even narrower.
      let rest = width;
      for (let other = index + 1; other < children.length; other++) rest += tree.total(children[other]) * scale;
      if (rest >= NARROWEST) row.add(x, rest, -1);
      return;
    }
    row.add(x, width, children[index]);
    x += width;
  }
}
