// The lines of one function: their times, and their text where the page has it.

const BITS = 30; // lines that are counted at once

/**
 * The time at each line of a function: `self` while it was the innermost, `total` with all that it called. Recursive calls count
 * once. Returns [line, { self, total }] in the order of the lines. In steps (work.js).
 */
function* lineTimes(calls, label) {
  const { stackParent, stackFrame, functionLabel, frameLine } = calls.recording;
  yield* calls.weighed();
  const times = calls.stackTimes.selves;
  const places = new Map(); // line -> its place
  const placeOfFrame = new Int32Array(functionLabel.length).fill(-1);
  for (let frame = 0; frame < functionLabel.length; frame++) {
    if (functionLabel[frame] !== label.functionIndex || frameLine[frame] < 0) continue;
    if (!places.has(frameLine[frame])) places.set(frameLine[frame], places.size);
    placeOfFrame[frame] = places.get(frameLine[frame]);
  }
  const selves = new Float64Array(places.size);
  const totals = new Float64Array(places.size);
  const active = new Int32Array(stackParent.length); // bits: the lines that are somewhere on the stack
  for (let first = 0; first < places.size; first += BITS) {
    yield* inChunks(1, stackParent.length, (from, to) => {
      for (let stack = from; stack < to; stack++) {
        const place = placeOfFrame[stackFrame[stack]];
        const isCounted = place >= first && place < first + BITS;
        active[stack] = active[stackParent[stack]] | (isCounted ? 1 << (place - first) : 0);
        const time = times[stack];
        if (time === 0) continue;
        if (isCounted) selves[place] += time;
        for (let bits = active[stack]; bits !== 0; bits &= bits - 1) totals[first + 31 - Math.clz32(bits & -bits)] += time;
      }
    });
  }
  return [...places].map(([line, place]) => [line, { self: selves[place], total: totals[place] }])
    .filter(([, { total }]) => total > 0)
    .sort(([one], [other]) => one - other);
}

/** What is shown of a function: [line, text or null, { self, total } or null], and null where lines are left out. */
function sourceRows(times, blocks) {
  const texts = new Map(blocks.flatMap(({ first, text }) => text.split("\n").map((line, index) => [first + index, line])));
  const timeOf = new Map(times);
  const numbers = [...new Set([...texts.keys(), ...timeOf.keys()])].sort((one, other) => one - other);
  const rows = [];
  for (const [index, number] of numbers.entries()) {
    if (index > 0 && number > numbers[index - 1] + 1) rows.push(null);
    rows.push([number, texts.has(number) ? texts.get(number) : null, timeOf.get(number) || null]);
  }
  return rows;
}

/** A section with the lines of a function and their times (see lineTimes); `base` gives the shares (base.js). */
function sourceSection(recording, label, times, base) {
  const blocks = recording.source.get(label.functionIndex) || [];
  if (times.length === 0) return [];
  const most = Math.max(...times.map(([, { total }]) => total));
  const rows = sourceRows(times, blocks).map((row) => {
    if (row === null) return element("tr", { class: "gap" }, element("td", { colspan: 4 }, "⋮"));
    const [number, text, time] = row;
    const made = element("tr", {},
      element("td", { class: "line" }, String(number)),
      element("td", { class: "number" }, time && time.self > 0 ? base.share(time.self) : ""),
      element("td", { class: "number", title: time ? formatTime(time.total) : "" }, time ? base.share(time.total) : ""),
      element("td", { class: "code" }, text === null ? "" : text));
    // The eye sees small shares, too.
    made.style.setProperty("--heat", `${Math.round(100 * Math.sqrt(time ? time.total / most : 0))}%`);
    return made;
  });
  const head = ["line", "self", "total", ""].map((title) => element("th", {}, title));
  return [
    element("h3", {}, "Lines"),
    element("table", { class: "source", "aria-label": "Lines" }, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows)),
    element("p", { class: "note" }, sourceNote(blocks)),
  ];
}

function sourceNote(blocks) {
  if (blocks.length === 0) return "The source is not in this page.";
  return blocks.some(({ changed }) => changed) ? "The file has changed since the recording began: the lines may be others now." : "";
}
