// Draws the timeline: an axis, and a row for each thread with the share of each state, pixel by pixel.

const AXIS_HEIGHT = 18;
const THREAD_HEIGHT = 18; // with the gap
const BAR_HEIGHT = 14;
const MARK_DISTANCE = 90; // pixels between times on the axis

function heightOfRows(count) {
  return AXIS_HEIGHT + count * THREAD_HEIGHT;
}

class TimelinePainter {
  constructor(canvas, recording) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.threads = recording.threads;
    this.withProcess = recording.processes.length > 1;
    this.width = 0;
  }

  /** Sizes are in CSS pixels. */
  resize(width, height) {
    this.width = width;
    this.height = height;
    this.ratio = fitCanvas(this.canvas, this.context, width, height);
    this.left = width <= 900 ? 90 : this.withProcess ? 250 : 170;
    this.letter = this.context.measureText("0").width;
    this.columns = Math.max(1, Math.floor((width - this.left) * this.ratio));
    this.known = new Map(); // thread -> its states
  }

  timeAt(x, { begin, end }) {
    return begin + ((x - this.left) / (this.width - this.left)) * (end - begin);
  }

  /** The thread in the row at `y`, or null. */
  threadAt(y, scrollTop) {
    if (y < AXIS_HEIGHT) return null;
    return this.threads[Math.floor((y - AXIS_HEIGHT + scrollTop) / THREAD_HEIGHT)] || null;
  }

  /** `scene`: the time that is `shown`, the `stretch` that is chosen (or null) and the `cursor` (or -1). */
  draw(scene, palette, scrollTop) {
    const { context } = this;
    context.fillStyle = palette.background;
    context.fillRect(0, 0, this.width, this.height);
    if (this.shown !== scene.shown) this.known.clear();
    this.shown = scene.shown;
    const first = Math.max(0, Math.floor(scrollTop / THREAD_HEIGHT));
    const last = Math.min(this.threads.length, Math.ceil((scrollTop + this.height - AXIS_HEIGHT) / THREAD_HEIGHT));
    for (let index = first; index < last; index++) {
      const y = AXIS_HEIGHT + index * THREAD_HEIGHT - scrollTop;
      this.#drawThread(this.threads[index], y, scene, palette);
    }
    this.#drawAxis(scene, palette);
    this.#drawStretch(scene, palette);
  }

  #drawThread(thread, y, { shown }, palette) {
    const { context } = this;
    if (!this.known.has(thread)) this.known.set(thread, thread.runs.states(shown.begin, shown.end, this.columns));
    context.putImageData(this.#bar(this.known.get(thread), palette), Math.round(this.left * this.ratio), Math.round((y + 1) * this.ratio));
    context.fillStyle = palette.text;
    const title = this.withProcess ? `${thread.title} · ${thread.process.title}` : thread.title;
    drawText(context, this.letter, title, PADDING, y + THREAD_HEIGHT / 2 + 0.5, this.left - 2 * PADDING);
  }

  /** Columns of pixels, in which each state has the height of its share. */
  #bar(times, palette) {
    const height = Math.round(BAR_HEIGHT * this.ratio);
    const image = this.context.createImageData(this.columns, height);
    const pixels = new Uint32Array(image.data.buffer);
    const colours = STATES.map(({ state }) => palette.statePixel(state));
    pixels.fill(colours[GAP]);
    for (let column = 0; column < this.columns; column++) {
      let time = 0;
      for (let state = 0; state < STATES.length; state++) time += times[column * STATES.length + state];
      if (!(time > 0)) continue;
      let seen = 0;
      let bottom = 0;
      for (let state = 0; state < STATES.length; state++) {
        seen += times[column * STATES.length + state];
        const top = Math.round((height * seen) / time);
        for (; bottom < top; bottom++) pixels[(height - 1 - bottom) * this.columns + column] = colours[state];
      }
    }
    return image;
  }

  #drawAxis({ shown }, palette) {
    const { context } = this;
    context.fillStyle = palette.background;
    context.fillRect(0, 0, this.width, AXIS_HEIGHT);
    const width = this.width - this.left;
    const step = roundStep(((shown.end - shown.begin) * MARK_DISTANCE) / width);
    context.fillStyle = palette.faded;
    for (let time = Math.ceil(shown.begin / step) * step; time <= shown.end; time += step) {
      const x = this.left + ((time - shown.begin) / (shown.end - shown.begin)) * width;
      context.fillRect(x, AXIS_HEIGHT - 4, 1, 4);
      context.fillText(formatMark(time, step), x + 3, AXIS_HEIGHT / 2);
    }
  }

  #drawStretch({ shown, stretch, cursor }, palette) {
    const { context, left, width, height } = this;
    const xOf = (time) => left + ((time - shown.begin) / (shown.end - shown.begin)) * (width - left);
    if (stretch !== null) {
      const from = Math.max(left, xOf(stretch.begin));
      const until = Math.min(width, xOf(stretch.end));
      context.fillStyle = palette.veil;
      context.fillRect(left, 0, Math.max(0, from - left), height);
      context.fillRect(until, 0, Math.max(0, width - until), height);
      context.fillStyle = palette.outline;
      context.fillRect(from - 1, 0, 1, height);
      context.fillRect(until, 0, 1, height);
    }
    if (cursor >= 0) {
      context.fillStyle = palette.found;
      context.fillRect(Math.round(Math.min(xOf(cursor), width - 2)), 0, 2, height);
    }
  }
}

/** The smallest of 1, 2 and 5 times a power of ten that is at least `step`. */
function roundStep(step) {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, step)));
  return power * ([1, 2, 5, 10].find((factor) => factor * power >= step) || 10);
}

/** A time on the axis, with as many digits as marks differ in. */
function formatMark(time, step) {
  const digits = Math.max(0, 6 - Math.floor(Math.log10(step)));
  const seconds = time / 1e6;
  if (step < 1e4 && seconds < 1) return `${(time / 1e3).toFixed(Math.max(0, digits - 3))} ms`;
  return `${seconds.toFixed(digits)} s`;
}
