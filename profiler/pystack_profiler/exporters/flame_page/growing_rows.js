// The rows of a table that is longer than its panel: as many as can be seen, and more as the panel is scrolled.

const FIRST_ROWS = 40;
const MORE_ROWS = 20;

class GrowingRows {
  /** `makers`: for each row, a function that makes it. */
  constructor(makers) {
    this.makers = makers;
    this.count = 0;
    this.body = element("tbody");
    this.grow(FIRST_ROWS);
  }

  grow(count = MORE_ROWS) {
    const next = this.makers.slice(this.count, this.count + count);
    this.count += next.length;
    this.body.append(...next.map((make) => make()));
  }

  /** Makes rows as long as the end of them can be seen in the panel. */
  fill(panel) {
    while (this.count < this.makers.length && this.body.getBoundingClientRect().bottom < panel.getBoundingClientRect().bottom + panel.clientHeight) this.grow();
  }

  /** Makes rows up to the one with this number. */
  reach(row) {
    while (this.count <= row && this.count < this.makers.length) this.grow();
  }
}
