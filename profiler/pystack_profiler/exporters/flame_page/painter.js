// Draws the visible rows on a canvas of the size of the window.

class Painter {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.context.font = FONT;
    this.letter = this.context.measureText("0").width;
  }

  /** Sizes are in CSS pixels. */
  resize(width, height) {
    this.width = width;
    this.height = height;
    fitCanvas(this.canvas, this.context, width, height);
  }

  /**
   * `scene`: the tree, its rows, how many of them are ancestors of the zoomed box, the search, the selected box and the
   * one under the mouse (nodes, or -1), the text for the outermost box, the changes of a comparison, or null, and the
   * label whose boxes are marked, or null.
   */
  draw(scene, palette, scrollTop) {
    const { context } = this;
    context.fillStyle = palette.background;
    context.fillRect(0, 0, this.width, this.height);
    const first = Math.max(0, Math.floor(scrollTop / ROW_HEIGHT));
    const last = Math.min(scene.rows.length, Math.ceil((scrollTop + this.height) / ROW_HEIGHT));
    for (let index = first; index < last; index++) {
      this.#drawRow(scene, palette, scene.rows[index], index * ROW_HEIGHT - scrollTop, index < scene.ancestors);
    }
  }

  #drawRow(scene, palette, row, y, isAncestor) {
    const { context } = this;
    const { tree, search } = scene;
    const height = ROW_HEIGHT - 1;
    for (let index = 0; index < row.node.length; index++) {
      const node = row.node[index];
      const x = row.x[index];
      // A gap between boxes, unless the box is too narrow for it.
      const width = row.width[index] > 3 ? row.width[index] - 1 : row.width[index];
      if (node < 0) {
        context.fillStyle = palette.narrow;
        context.fillRect(x, y, width, height);
        continue;
      }
      const label = node === tree.root ? null : tree.label(node);
      const isFound = label !== null && !search.isEmpty && search.finds(label);
      const isFaded = isAncestor || !search.isEmpty;
      if (isFound) context.fillStyle = palette.found;
      else if (label !== null && scene.changes) context.fillStyle = palette.change(scene.changes.change(node), isFaded);
      else context.fillStyle = palette.box(label, isFaded);
      context.fillRect(x, y, width, height);
      if (width > 2 * PADDING) {
        context.fillStyle = isAncestor && !isFound ? palette.faded : palette.text;
        drawText(context, this.letter, label === null ? scene.title : label.name, x + PADDING, y + height / 2 + 0.5, width - 2 * PADDING);
      }
      const isMarked = label !== null && label === scene.opened;
      if (node === scene.selected || node === scene.hovered || isMarked) {
        context.strokeStyle = palette.outline;
        context.lineWidth = node === scene.hovered ? 1 : 2;
        const inset = context.lineWidth / 2;
        context.strokeRect(x + inset, y + inset, Math.max(1, width - 2 * inset), height - 2 * inset);
      }
    }
  }
}
