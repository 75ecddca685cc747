"""A flame graph as one SVG image, for reports, chats and dashboards. Names are tooltips; in a browser, a click
on a frame or on "search" marks frames of that name and says their share.

All threads are one graph, unless they are root frames. Frames that are too narrow to be seen are left
out, and their time with them; widths are exact.
"""

from __future__ import annotations

import html
import zlib
from dataclasses import dataclass, field
from typing import TextIO

from ..grouping import FrameLabel, Grouping, LabelKind
from ..naming import process_title, recording_title, thread_title
from ..profile import Recording
from ..stats import format_share, format_time
from ..view import DEFAULT_VIEW, View, time_in_mode

_WIDTH, _ROW, _MARGIN = 1200, 17, 10
_HEADER = 46
_NARROWEST = 0.3  # pixels
_CHARACTER = 7.0  # pixels; the font is monospaced
_DEEPEST = 500  # rows; a deeper stack is recursion

#: Hue and its range, for each kind.
_HUES: dict[LabelKind, tuple[int, int]] = {
    "python": (20, 30),
    "library": (200, 30),
    "native": (90, 30),
    "interpreter": (270, 20),
    "gc": (0, 1),
    "wait": (0, 1),
    "marker": (0, 1),
}

_STYLE = (
    "text{font:12px monospace;fill:#222;pointer-events:none}.t{font-size:15px}.b{pointer-events:auto;"
    "cursor:pointer}rect{stroke:#fff;stroke-width:.5}.m rect{fill:#c0f!important}"
)

_SCRIPT = """
const frames = [...document.querySelectorAll("g.f")];
function mark(wanted) {
  let marked = 0, end = -1;
  for (const g of frames) {
    const hit = wanted !== "" && g.dataset.name.toLowerCase().includes(wanted.toLowerCase());
    g.classList.toggle("m", hit);
    const x = +g.dataset.x;
    if (hit && x >= end) { marked += +g.dataset.share; end = x + +g.dataset.share - 1e-9; }
  }
  document.getElementById("found").textContent =
    wanted === "" ? "" : `${(100 * marked).toFixed(1)} % in ${wanted}`;
}
for (const g of frames) g.addEventListener("click", () => mark(g.dataset.name));
document.getElementById("search").addEventListener("click", () => mark(prompt("Search") ?? ""));
"""


@dataclass(slots=True)
class _Node:
    label: FrameLabel | None = None
    name: str = ""
    time_ns: int = 0
    children: dict[object, _Node] = field(default_factory=dict)

    def child(self, key: object, label: FrameLabel | None, name: str, time_ns: int) -> _Node:
        node = self.children.get(key)
        if node is None:
            node = self.children[key] = _Node(label, name)
        node.time_ns += time_ns
        return node


def export(recording: Recording, stream: TextIO, view: View = DEFAULT_VIEW) -> None:
    root = _tree(recording, view)
    boxes = _boxes(root)
    rows = max((row for row, *_ in boxes), default=0) + 1
    height = _HEADER + rows * _ROW + _MARGIN
    title = _xml(recording_title(recording))
    what = {"wall": "time", "cpu": "CPU time", "gil": "time with the GIL"}.get(
        view.mode, "time without a CPU"
    )
    write = stream.write
    write('<?xml version="1.0" encoding="UTF-8"?>\n')
    write(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}"'
        f' height="{height}">\n<style>{_STYLE}</style>\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n'
        f'<text class="t" x="{_MARGIN}" y="20">{title}</text>\n'
        f'<text x="{_MARGIN}" y="38">100 % is {format_time(root.time_ns)}, the {what} of all threads</text>\n'
        f'<text class="b" id="search" x="{_WIDTH - 70}" y="38">search</text>\n'
        f'<text id="found" x="{_WIDTH // 2}" y="38"></text>\n'
    )
    for row, begin_ns, node in boxes:
        write(_box(row, begin_ns, node, root.time_ns))
    write(f"<script><![CDATA[{_SCRIPT}]]></script>\n</svg>\n")


def _tree(recording: Recording, view: View) -> _Node:
    grouping = Grouping(recording.profiles, view.granularity, full_filenames=view.full_filenames)
    root = _Node()
    several = len(recording.profiles) > 1
    for profile, track in recording.tracks():
        weights: dict[int, int] = {}
        for run in track.runs():
            if time_ns := time_in_mode(view.mode, run):
                stack = grouping.stack_of_run(profile, run)
                weights[stack] = weights.get(stack, 0) + time_ns
        titles = [process_title(profile)] if several and view.threads else []
        titles += [thread_title(track.identity)] if view.threads else []
        for stack, time_ns in weights.items():
            root.time_ns += time_ns
            node = root
            for text in titles:
                node = node.child(text, None, text, time_ns)
            for frame in grouping.path(stack)[:_DEEPEST]:
                label = grouping.frames[frame]
                node = node.child(frame, label, label.name, time_ns)
    return root


def _boxes(root: _Node) -> list[tuple[int, int, _Node]]:
    """(row, begin, node) of each frame that is wide enough; callees of a frame by their names."""
    least_ns = _NARROWEST * root.time_ns / (_WIDTH - 2 * _MARGIN)
    boxes = []
    todo = [(-1, 0, root)]
    while todo:
        row, begin_ns, node = todo.pop()
        if row >= 0:
            boxes.append((row, begin_ns, node))
        for child in sorted(node.children.values(), key=lambda child: child.name):
            if child.time_ns >= least_ns:
                todo.append((row + 1, begin_ns, child))
            begin_ns += child.time_ns
    boxes.sort(key=lambda box: box[:2])
    return boxes


def _box(row: int, begin_ns: int, node: _Node, whole_ns: int) -> str:
    scale = (_WIDTH - 2 * _MARGIN) / whole_ns
    x, y, width = _MARGIN + begin_ns * scale, _HEADER + row * _ROW, node.time_ns * scale
    where = ""
    if node.label is not None and node.label.file:
        line = "" if node.label.line is None else f":{node.label.line}"
        where = f" ({node.label.file}{line})"
    share = format_share(node.time_ns, whole_ns)
    tip = _xml(f"{node.name}{where}: {format_time(node.time_ns)}, {share}")
    room = int((width - 4) / _CHARACTER)
    shown = node.name if len(node.name) <= room else f"{node.name[: room - 1]}…" if room > 2 else ""
    text = f'<text x="{x + 2:.2f}" y="{y + 12}">{_xml(shown)}</text>' if shown else ""
    return (
        f'<g class="f" data-name="{_xml(node.name)}" data-x="{begin_ns / whole_ns:.9f}"'
        f' data-share="{node.time_ns / whole_ns:.9f}"><title>{tip}</title>'
        f'<rect x="{x:.2f}" y="{y}" width="{width:.2f}" height="{_ROW - 1}" fill="{_colour(node)}"/>'
        f"{text}</g>\n"
    )


def _xml(text: str) -> str:
    """Control characters were escaped where the text was made; XML also forbids these two."""
    return html.escape(text.translate({0xFFFE: "\ufffd", 0xFFFF: "\ufffd"}))


def _colour(node: _Node) -> str:
    if node.label is None or node.label.kind in ("gc", "wait", "marker"):
        return "hsl(0,0%,80%)"
    hue, spread = _HUES[node.label.kind]
    number = zlib.crc32(f"{node.label.function}\0{node.label.file}".encode())
    return f"hsl({hue + number % spread},{60 + number // 64 % 20}%,{66 + number // 4096 % 12}%)"
