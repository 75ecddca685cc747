// The colours of boxes: by kind of code, and slightly by name, so that neighbours differ.

const KINDS = [
  { kind: "python", title: "Python", hue: 18, hues: 27, light: [94, 71], dark: [64, 38] },
  { kind: "library", title: "libraries", hue: 203, hues: 18, light: [52, 82], dark: [26, 33] },
  { kind: "native", title: "native", hue: 150, hues: 30, light: [36, 69], dark: [34, 29] },
  { kind: "interpreter", title: "interpreter", hue: 250, hues: 20, light: [12, 80], dark: [9, 36] },
  { kind: "gc", title: "garbage collection", hue: 346, hues: 0, light: [78, 74], dark: [56, 44] },
  { kind: "wait", title: "waiting", hue: 220, hues: 0, light: [14, 86], dark: [12, 26] },
  { kind: "idle", title: "idle", hue: 40, hues: 0, light: [30, 89], dark: [12, 22] },
  { kind: "gap", title: "not sampled", hue: 40, hues: 0, light: [0, 94], dark: [0, 17] },
  { kind: "marker", title: "task or marker", hue: 268, hues: 12, light: [52, 82], dark: [34, 41] },
  { kind: "thread", title: "thread", hue: 40, hues: 0, light: [8, 80], dark: [6, 29] },
  { kind: "process", title: "process", hue: 40, hues: 0, light: [8, 72], dark: [6, 24] },
];
const KIND = new Map(KINDS.map((kind) => [kind.kind, kind]));

const THEMES = {
  light: {
    text: "#1d1b18", faded: "#8d877f", background: "#ffffff", all: "#e6e3de", narrow: "#e9e2d6",
    found: "hsl(292 72% 78%)", outline: "#1d1b18", veil: "rgb(255 255 255 / 65%)",
    states: {
      running: "#3b8f66", runnable: "#e8b93c", gil: "#d2543f", gc: "#b06bc4", waiting: "#a9bdd6", idle: "#ebe4d6", unknown: "#b5aea4", gap: "#ffffff",
    },
  },
  dark: {
    text: "#f3f0eb", faded: "#8b867f", background: "#1b1a19", all: "#33312f", narrow: "#322e29",
    found: "hsl(292 52% 44%)", outline: "#ffffff", veil: "rgb(27 26 25 / 65%)",
    states: {
      running: "#3f9b70", runnable: "#c99a2b", gil: "#d2543f", gc: "#a05fb4", waiting: "#4a6080", idle: "#35302a", unknown: "#6f6960", gap: "#1b1a19",
    },
  },
};

class Palette {
  all = ""; // the other colours of the theme as well

  constructor(themeName) {
    this.themeName = themeName;
    Object.assign(this, THEMES[themeName]);
    this.known = new Map();
  }

  /** The colour of a box; faded if it is not found by the search. */
  box(label, isFaded) {
    if (!label) return this.all;
    const key = label.index * 2 + (isFaded ? 1 : 0);
    let colour = this.known.get(key);
    if (colour === undefined) {
      colour = this.#mix(KIND.get(label.kind), hash(label.name), isFaded);
      this.known.set(key, colour);
    }
    return colour;
  }

  /** The colour of a box in a comparison: red if its share grew, blue if it shrank. */
  change(change, isFaded) {
    const isLight = this.themeName === "light";
    const base = isLight ? 90 : 28;
    if (change === 0) return `hsl(40 4% ${isFaded ? base + (isLight ? 4 : -6) : base}%)`;
    // A tenth of the time has the strongest colour; small changes can still be seen.
    const strength = (0.25 + 0.75 * Math.sqrt(Math.min(1, Math.abs(change) / 0.1))) * (isFaded ? 0.4 : 1);
    const lightness = isLight ? base - 28 * strength : base + 17 * strength;
    return `hsl(${change > 0 ? 6 : 214} ${Math.round(30 + 50 * strength)}% ${lightness.toFixed(1)}%)`;
  }

  /** The colour of a state of a thread, and the same as a pixel of a picture. */
  state(state) {
    return THEMES[this.themeName].states[state];
  }

  statePixel(state) {
    const colour = parseInt(this.state(state).slice(1), 16);
    const bytes = Uint8Array.of(colour >> 16, (colour >> 8) & 255, colour & 255, 255);
    return new Uint32Array(bytes.buffer)[0];
  }

  legend(kind) {
    const { hue, hues } = KIND.get(kind);
    const [saturation, lightness] = KIND.get(kind)[this.themeName];
    return `hsl(${hue + hues / 2} ${saturation}% ${lightness}%)`;
  }

  #mix(kind, nameHash, isFaded) {
    const hue = kind.hue + (kind.hues * (nameHash % 101)) / 100;
    let [saturation, lightness] = kind[this.themeName];
    lightness += (((nameHash >>> 8) % 101) / 100 - 0.5) * 5;
    if (isFaded) {
      saturation *= 0.3;
      lightness = this.themeName === "light" ? lightness * 0.4 + 57 : lightness * 0.6 + 4;
    }
    return `hsl(${hue.toFixed(0)} ${saturation.toFixed(0)}% ${lightness.toFixed(1)}%)`;
  }
}

/** FNV-1a. */
function hash(text) {
  let value = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) value = Math.imul(value ^ text.charCodeAt(index), 0x01000193);
  return value >>> 0;
}
