// Formats numbers, and makes elements with text. Text is never parsed as markup.

/** Formats microseconds. */
function formatTime(microseconds) {
  if (microseconds >= 60e6) {
    const seconds = Math.round(microseconds / 1e6);
    return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  }
  if (microseconds >= 1e6) return `${(microseconds / 1e6).toFixed(2)} s`;
  if (microseconds >= 1e3) return `${(microseconds / 1e3).toFixed(microseconds >= 1e5 ? 0 : 1)} ms`;
  return microseconds > 0 ? `${Math.round(microseconds)} µs` : "0 s";
}

function formatShare(part, whole) {
  if (!(whole > 0) || part === 0) return "0 %";
  const percent = (100 * part) / whole;
  if (percent > 0 && percent < 0.01) return "< 0.01 %";
  return `${percent.toFixed(percent < 1 ? 2 : 1)} %`;
}

function formatCount(count) {
  return Number(count).toLocaleString("en");
}

/** `element("p", { class: "note" }, "text", child)`. */
function element(tag, attributes = {}, ...content) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value !== false && value !== null) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...content.filter((part) => part !== null));
  return made;
}

/**
 * An element of page.html, which says of which type it is.
 * @returns {any}
 */
function byId(id) {
  return document.getElementById(id);
}
