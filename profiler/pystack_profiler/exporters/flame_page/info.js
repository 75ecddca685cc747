// The details of the recording: its settings, its losses, and who held the GIL.

const NS_PER_US = 1000;

function fillInfo(recording) {
  const { metadata } = recording;
  const body = byId("info-body");
  body.append(factsTable(metadata));
  if (metadata.target.processes.length > 1) body.append(processTable(metadata));
  body.append(threadTable(recording));
  if (metadata.gil && metadata.gil.blamed.length > 0) body.append(blameTable(metadata));
}

function factsLine(metadata) {
  const { recording, counts } = metadata;
  const versions = [...new Set(metadata.target.processes.map((process) => `CPython ${process.python_version}`))];
  const lost = counts.torn + counts.failed + counts.vanished;
  return [
    ...versions,
    formatTime(recording.duration_ns / NS_PER_US),
    `${recording.achieved_rate_hz.toPrecision(4)} Hz`,
    `${formatCount(counts.taken)} samples`,
    lost > 0 ? `${formatCount(lost)} lost` : "none lost",
  ].join(" · ");
}

function sidesLine(sides) {
  const words = sides.map(({ title, samples }, side) => `${["before", "after"][side]}: ${title}, ${formatCount(samples)} samples`);
  return words.join(" · ");
}

function factsTable(metadata) {
  const { recording, counts, target } = metadata;
  const ns = (value) => formatTime(value / NS_PER_US);
  const facts = [
    ["Command", target.command.join(" ")],
    ["Started", recording.start_time],
    ["Duration", `${ns(recording.duration_ns)}, ended: ${recording.end_reason.replace("_", " ")}`],
    ["Rate", `${recording.achieved_rate_hz.toPrecision(4)} Hz achieved, ${recording.rate_hz} Hz requested`],
    ["Samples", `${formatCount(counts.taken)} of ${formatCount(counts.attempted)} attempted: ${formatCount(counts.torn)} torn, `
      + `${formatCount(counts.failed)} failed, ${formatCount(counts.vanished)} vanished`],
    ["Ticks", `${formatCount(counts.ticks)} served, ${formatCount(counts.late)} late, ${formatCount(counts.missed)} missed`],
    ["Overhead", `${ns(recording.tool_cpu_ns)} CPU time of the profiler`
      + (recording.stops_target ? `; target stopped for ${ns(counts.stop_ns_total)}` : "; the target was never stopped")],
    ["Garbage collection", ns(metadata.gc_ns)],
  ];
  if (recording.error) facts.push(["Error", recording.error]);
  return element("table", { class: "facts" },
    ...facts.map(([name, value]) => element("tr", {}, element("th", {}, name), element("td", {}, value))));
}

function processTable(metadata) {
  const rows = metadata.target.processes.map((process) => [
    String(process.pid), process.command.join(" "), process.python_version, formatTime(process.duration_ns / NS_PER_US),
    process.error || process.end_reason.replace("_", " "),
  ]);
  return titled("Processes", ["pid", "command", "Python", "recorded", "ended"], rows);
}

function threadTable(recording) {
  const { threads } = recording.metadata;
  const withGil = recording.metadata.gil !== null;
  const header = ["thread", "samples", "observed", "on CPU"];
  if (withGil) header.push("held the GIL", "waited for the GIL", "without the GIL", "others waited");
  const rows = threads.map((thread, index) => {
    const part = (ns) => (ns === null ? "–" : `${formatTime(ns / NS_PER_US)} (${formatShare(ns, thread.seen_ns)})`);
    const row = [recording.threads[index].title, formatCount(thread.samples), formatTime(thread.seen_ns / NS_PER_US), part(thread.on_cpu_ns)];
    if (withGil) row.push(part(thread.gil_held_ns), part(thread.gil_wait_ns), part(thread.gil_without_ns));
    if (withGil) row.push(thread.gil_blamed_ns === null ? "–" : formatTime(thread.gil_blamed_ns / NS_PER_US));
    return row;
  });
  return titled("Threads", header, rows);
}

function blameTable(metadata) {
  const rows = metadata.gil.blamed.map(({ blamed_ns, stack, tid }) => {
    const frame = stack[stack.length - 1];
    const place = frame ? (frame.line === null ? frame.file : `${frame.file}:${frame.line}`) : "";
    return [frame ? frame.name : "no Python code", place, String(tid), formatTime(blamed_ns / NS_PER_US)];
  });
  return titled("Held the GIL while others waited", ["function", "defined at", "thread", "others waited"], rows);
}

function titled(title, header, rows) {
  return element("section", {}, element("h3", {}, title),
    element("div", { class: "wide" }, element("table", { class: "columns" },
      element("thead", {}, element("tr", {}, ...header.map((name) => element("th", {}, name)))),
      element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, cell))))))));
}
