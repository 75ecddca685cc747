// What all canvases have in common: their size in pixels, and text in boxes.

const FONT = '12px ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace';
const PADDING = 4;

/** Gives a canvas a size in CSS pixels. Returns how many pixels of the screen one of them has. */
function fitCanvas(canvas, context, width, height) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.font = FONT;
  context.textBaseline = "middle";
  return ratio;
}

/** Draws as much of a text as there is room for, in the middle of a row at `y`. `letter`: the width of one. */
function drawText(context, letter, text, x, y, width) {
  const letters = Math.floor(width / letter);
  if (letters < 3) return;
  const seen = text.slice(0, letters + 1); // A name can be long, and this is done for each box of each frame.
  if (/^[ -~…·]*$/.test(seen)) {
    // All characters have the same width.
    context.fillText(text.length <= letters ? text : `${seen.slice(0, letters - 1)}…`, x, y);
    return;
  }
  context.save();
  context.beginPath();
  context.rect(x, y - ROW_HEIGHT / 2, width, ROW_HEIGHT);
  context.clip();
  context.fillText(seen, x, y);
  context.restore();
}
