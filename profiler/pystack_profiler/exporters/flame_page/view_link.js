// The view as the fragment of the page's address, so that it can be kept, sent, and left by the browser's Back.

const MOST_LEVELS = 300; // of a zoom: addresses have limits

/**
 * A view is `{ mode, side, threads, time, zoom, query, regex, inverted, lines, roots, idle, machinery, mine, sort, opened }`. `threads` is
 * null for all, else sorted indices; `time` is null for all, else { begin, end } in microseconds; `zoom` and `opened` name boxes (see
 * nameOfLabel).
 */
function fragmentOf(view, initial) {
  const pairs = [];
  for (const [key, value] of Object.entries(view)) {
    const text = VIEW_TEXTS[key] ? VIEW_TEXTS[key].write(value) : String(value);
    const usual = VIEW_TEXTS[key] ? VIEW_TEXTS[key].write(initial[key]) : String(initial[key]);
    if (text !== usual) pairs.push(`${key}=${encodeURIComponent(text).replace(/%2C/g, ",")}`);
  }
  return pairs.join("&");
}

/** What is wrong or missing in the fragment is as in `initial`. */
function viewOf(fragment, initial) {
  const view = { ...initial };
  for (const pair of fragment.replace(/^#/, "").split("&")) {
    const [key, coded = ""] = pair.split("=");
    if (!Object.hasOwn(initial, key)) continue;
    let text;
    try {
      text = decodeURIComponent(coded);
    } catch {
      continue; // a torn escape
    }
    if (VIEW_TEXTS[key]) view[key] = VIEW_TEXTS[key].read(text, initial[key]);
    else if (typeof initial[key] === "boolean") view[key] = text === "true";
    else if (typeof initial[key] === "number") view[key] = Number.isInteger(Number(text)) ? Number(text) : initial[key];
    else view[key] = text;
  }
  return view;
}

const VIEW_TEXTS = {
  threads: { write: (threads) => (threads === null ? "all" : rangesOf(threads)), read: (text) => (text === "all" ? null : numbersOf(text)) },
  time: { write: (time) => (time === null ? "all" : `${Math.round(time.begin)}-${Math.round(time.end)}`), read: stretchOf },
  zoom: { write: (zoom) => zoom.slice(0, MOST_LEVELS).join(","), read: (text) => (text ? text.split(",").slice(0, MOST_LEVELS) : []) },
};

/** [0, 1, 2, 5] is "0-2,5". */
function rangesOf(numbers) {
  const ranges = [];
  for (const number of numbers) {
    const last = ranges[ranges.length - 1];
    if (last && last[1] === number - 1) last[1] = number;
    else ranges.push([number, number]);
  }
  return ranges.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(",");
}

function stretchOf(text) {
  const [, begin, end] = /^(\d{1,15})-(\d{1,15})$/.exec(text) || [null, "0", "0"];
  return Number(begin) < Number(end) ? { begin: Number(begin), end: Number(end) } : null;
}

function numbersOf(text) {
  const numbers = new Set();
  for (const [, first, last = first] of text.matchAll(/(\d{1,5})(?:-(\d{1,5}))?/g)) {
    for (let number = Number(first); number <= Number(last); number++) numbers.add(number);
  }
  return [...numbers].sort((one, other) => one - other);
}

/** A short name, which is the same in other recordings of the program. */
function nameOfLabel(label) {
  return hash(`${label.name}\n${label.file}`).toString(36);
}

/** Keeps the address and the page alike. */
class ViewLink {
  /** `read()` gives the view of the page, `apply(view)` shows one. */
  constructor(initial, { read, apply }) {
    this.initial = initial;
    this.read = read;
    this.apply = apply;
    this.current = "";
    this.isRestoring = false;
    window.addEventListener("popstate", () => this.restore());
  }

  /** Shows the view of the address. */
  restore() {
    this.isRestoring = true;
    this.apply(viewOf(location.hash, this.initial));
    this.isRestoring = false;
    this.current = fragmentOf(this.read(), this.initial);
  }

  /** Call this after each change of the view. Typing into the search or moving the stretch of time is one step of the history, not one per key. */
  update() {
    const fragment = fragmentOf(this.read(), this.initial);
    if (this.isRestoring || fragment === this.current) return;
    const isOneStep = ["query", "time"].some((key) => without(fragment, key) === without(this.current, key) && this.current.includes(`${key}=`));
    this.current = fragment;
    const address = fragment ? `#${fragment}` : location.pathname + location.search;
    try {
      if (isOneStep) history.replaceState(null, "", address);
      else history.pushState(null, "", address);
    } catch {
      // Some embedded documents may not have an address, and browsers limit how often it changes: then it lags behind.
    }
  }
}

function without(fragment, key) {
  return fragment.split("&").filter((pair) => !pair.startsWith(`${key}=`)).join("&");
}
