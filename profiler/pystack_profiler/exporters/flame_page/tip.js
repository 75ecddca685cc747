// The tooltip beside the mouse, with the facts of one box.

const LINES_SHOWN = 5;

class Tip {
  constructor(panel) {
    this.panel = panel;
  }

  hide() {
    this.panel.hidden = true;
  }

  /** For `facts`, see Page.facts. */
  show(facts, x, y) {
    this.panel.replaceChildren(
      element("b", {}, facts.name),
      ...(facts.position ? [element("div", { class: "position" }, facts.position)] : []),
      element("table", {}, ...facts.shares.map(([name, time, share]) => row(name, time, share)), ...this.#lines(facts)));
    this.panel.hidden = false;
    const { width, height } = this.panel.getBoundingClientRect();
    const left = Math.min(x + 14, window.innerWidth - width - 8);
    const top = y + 20 + height > window.innerHeight ? y - height - 12 : y + 20;
    this.panel.style.left = `${Math.max(8, left)}px`;
    this.panel.style.top = `${Math.max(8, top)}px`;
  }

  #lines({ lines, total }) {
    const rows = lines.slice(0, LINES_SHOWN).map(([line, weight]) => row(`line ${line}`, formatTime(weight), formatShare(weight, total)));
    if (lines.length > LINES_SHOWN) rows.push(row(`and ${lines.length - LINES_SHOWN} more`, "", ""));
    if (rows.length > 0) rows[0].className = "ruled";
    return rows;
  }
}

function row(...cells) {
  return element("tr", {}, ...cells.map((cell) => element("td", {}, cell)));
}
