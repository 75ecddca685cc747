"""The lines of a frame: what both the text and the screen show. A role says how a part is painted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Generic, Literal, NamedTuple, TypeVar

from pystack.render.escape import display_width

from ..stats import format_rate, format_share, plural
from ..view import MODE_WORDS
from .model import Frame, FunctionRow, Gil, ProcessRow, Stack, ThreadRow
from .selection import ThreadKey

#: The colours of `pystack.render.terminal.Palette`; "": none.
Role = Literal["", "head", "good", "waiting", "bad", "name", "dim"]

Key = TypeVar("Key", covariant=True)

_NAMED = 4  # threads in a list of names
_STATES: dict[str, tuple[str, Role]] = {
    "running": ("running", "good"),
    "waiting": ("waiting", ""),
    "idle": ("idle", "dim"),
    "gil": ("waits GIL", "waiting"),
    "gc": ("GC", "waiting"),
    "unknown": ("?", ""),
}
_LABELS = 9  # columns of the names of the first lines
_LONGEST_NAME = 28
_LONGEST_FRAME = 44
_LONGEST_TITLE = 80


class Span(NamedTuple):
    role: Role
    text: str


class Line(NamedTuple, Generic[Key]):
    key: Key | None  # of the row that can be chosen
    spans: tuple[Span, ...]


def head_lines(frame: Frame) -> list[Line[None]]:
    quality = frame.quality
    covered = quality.coverage
    rate = f"{format_rate(quality.rate_hz)} of {format_rate(quality.asked_hz)}"
    parts = [rate] if quality.rate_hz else []
    if covered is not None:
        parts.append(f"coverage {format_share(covered, 1)}")
    if quality.tool_cpu is not None:
        own, sampling = format_share(quality.tool_cpu, 1), format_share(quality.sampling_cpu, 1)
        parts.append(f"costs {own} of a CPU, sampling {sampling}")
    parts.append(quality.losses)
    if quality.not_sampled >= 0.01:
        parts.append(f"not sampled {format_share(quality.not_sampled, 1)} of the time")
    lossy = covered is not None and covered < 0.99
    lines = [
        (Span("head", cut(frame.title, _LONGEST_TITLE)), Span("", f"  {frame.elapsed_s:.0f} s")),
        _gil_spans(frame),
        (Span("name", "CPU".ljust(_LABELS)), Span("", "; ".join(_cpu(frame)))),
        (
            Span("name", "sampling".ljust(_LABELS)),
            Span("waiting" if lossy else "", "; ".join(parts)),
        ),
    ]
    lines += [(Span("waiting", note),) for note in frame.notes]
    return [Line(None, spans) for spans in lines]


def thread_heading(frame: Frame) -> Line[None]:
    width = _name_width(frame)
    titles = f"{'TID':>8}  {'thread'.ljust(width)}  {'now':<10} {'CPU %':>6} {'GIL %':>6} {'GIL wait %':>10}  in"
    return Line(None, (Span("dim", titles),))


def thread_lines(frame: Frame) -> Iterator[Line[ThreadKey]]:
    """Processes have a line of their own if there are several."""
    width = _name_width(frame)
    for process in frame.processes:
        if len(frame.processes) > 1 or process.ended is not None:
            yield Line(None, _process_spans(process))
        for thread in process.threads:
            yield Line(thread.key, _thread_spans(thread, width))
        if process.more_threads:
            yield Line(None, (Span("dim", f"  and {plural(process.more_threads, 'more thread')}"),))


def function_heading(frame: Frame) -> Line[None]:
    base = "one CPU" if frame.mode == "cpu" else "one thread, all the time"
    of = "" if frame.of_thread is None else f" of {frame.of_thread}"
    title = f"{'self %':>7} {'total %':>7}  functions by {MODE_WORDS[frame.mode]}{of}"
    more = f" (100 % is {base}; the last 10 s count most)"
    if frame.mode in ("wall", "waits"):
        more += "; with idle time" if frame.idle else "; without idle time"
    if frame.native == "hidden":
        more += "; native frames are hidden"
    return Line(None, (Span("dim", title + more),))


def function_lines(frame: Frame) -> Iterator[Line[int]]:
    if not frame.mode_is_known:
        text = f"   {MODE_WORDS[frame.mode]} could not be measured in this process"
        yield Line(None, (Span("waiting", text),))
    for row in frame.functions:
        yield Line(row.key, _function_spans(row))
    if frame.more_functions:
        text = f"{'':>15}  and {plural(frame.more_functions, 'more function')}"
        yield Line(None, (Span("dim", text),))


def stack_heading(frame: Frame) -> Line[None]:
    if frame.stack is None:
        return Line(None, (Span("dim", "no stack"),))
    return Line(None, (Span("dim", f"{frame.stack.title} (most recent call first)"),))


def stack_lines(stack: Stack | None) -> Iterator[Line[None]]:
    if stack is None:
        return
    if not stack.frames:
        yield Line(None, (Span("dim", "  no Python frames"),))
    name = min(max((display_width(one.name) for one in stack.frames), default=0), _LONGEST_FRAME)
    place = max((display_width(one.place) for one in stack.frames), default=0)
    for one in stack.frames:
        role: Role = "waiting" if one.kind == "wait" else "name"
        spans = (
            Span(role, f"  {pad(one.name, name)}"),
            Span("dim", f"  {pad(one.place, min(place, _LONGEST_FRAME))}"),
            Span("", f"  {one.source}" if one.source else ""),
        )
        yield Line(None, spans)
    if stack.more_frames:
        text = f"  and {plural(stack.more_frames, 'more frame')} further out"
        yield Line(None, (Span("dim", text),))
    for note in stack.notes:
        yield Line(None, (Span("waiting", f"  ({note})"),))


def fit(spans: Sequence[Span], width: int) -> Iterator[Span]:
    """The spans, cut to a number of columns."""
    left = width
    for role, text in spans:
        columns = display_width(text)
        if columns <= left:
            yield Span(role, text)
            left -= columns
            continue
        yield Span(role, cut(text, left))
        return


def cut(text: str, width: int) -> str:
    """The begin of a text, and `…` if there is more."""
    if width <= 0:
        return ""
    text = text[: 4 * width]  # wide enough, and the rest need not be looked at
    if display_width(text) <= width:
        return text
    while display_width(text) > width - 1:
        text = text[: -max(1, (display_width(text) - width) // 2)]
    return f"{text}…"


def pad(text: str, width: int) -> str:
    text = cut(text, width)
    return text + " " * (width - display_width(text))


def _cpu(frame: Frame) -> Iterator[str]:
    shares = [process.cpu for process in frame.processes if process.cpu is not None]
    if shares:
        yield f"{_share(sum(shares))} of a CPU in Python threads"
        if frame.runnable >= 0.01:
            yield f"{frame.runnable:.2g} threads ready without a CPU"
    else:
        yield "not known"
    yield f"garbage collection {_share(frame.gc)} of the time"
    if frame.native_cpu is not None:
        yield f"native code {_share(frame.native_cpu)} of the CPU time"


def _gil_spans(frame: Frame) -> tuple[Span, ...]:
    gil = frame.gil
    name = Span("name", "GIL".ljust(_LABELS))
    if gil is None:
        return name, Span("", "not known")
    of = f" in {gil.pid}" if len(frame.processes) > 1 else ""
    return (
        name,
        Span("good" if gil.holders else "", f"held by {_names(gil.holders)}{of}"),
        *_waiter_spans(gil),
        Span("dim", f"; held {_share(gil.held)} of the time"),
        Span("dim", f", threads waited {_share(gil.waited)}" if gil.waited else ""),
    )


def _waiter_spans(gil: Gil) -> Iterator[Span]:
    if gil.waiters:
        yield Span("waiting", f"; waiting: {_names(gil.waiters)}")


def _names(names: Sequence[str]) -> str:
    if not names:
        return "nobody at the last tick"
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _name_width(frame: Frame) -> int:
    names = (row.name for process in frame.processes for row in process.threads)
    return min(max(map(display_width, names), default=0), _LONGEST_NAME)


def _process_spans(process: ProcessRow) -> tuple[Span, ...]:
    cpu = "" if process.cpu is None else f"  {_share(process.cpu)} of a CPU"
    version = f"  CPython {process.python_version}" if process.python_version else ""
    return (
        Span("head", f"{process.pid:>8}  {cut(process.title, _LONGEST_TITLE)}"),
        Span("", version + cpu),
        Span("bad", "" if process.ended is None else f"  {process.ended}"),
    )


def _thread_spans(row: ThreadRow, width: int) -> tuple[Span, ...]:
    state, role = _STATES.get(row.state, ("", ""))
    if row.state == "unseen":
        state, role = f"unseen {row.unseen_s:.0f} s", "bad"
    elif row.holds_gil:
        state, role = "holds GIL", "good"
    doing = row.doing if row.is_python else f"(not a Python thread) {row.doing}"
    return (
        Span("", f"{row.tid or '?':>8}  {pad(row.name, width)}  "),
        Span(role, f"{state:<10}"),
        Span("", f" {_percent(row.cpu)} {_percent(row.gil)}"),
        Span("waiting" if (row.gil_wait or 0) >= 0.1 else "", f" {_percent(row.gil_wait):>10}"),
        Span("", f"  {doing}"),
    )


def _function_spans(row: FunctionRow) -> tuple[Span, ...]:
    role: Role = "name"
    if row.kind in ("wait", "gc"):
        role = "waiting"
    elif row.kind in ("library", "interpreter"):
        role = ""
    return (
        Span("", f" {_percent(row.own)}  {_percent(row.total)}  "),
        Span(role, row.name),
        Span("dim", f"  {row.place}" if row.place else ""),
    )


def _share(share: float) -> str:
    """What has decayed to almost nothing is nothing."""
    return format_share(round(share, 5), 1)


def _percent(share: float | None) -> str:
    return f"{'?':>6}" if share is None else f"{100 * share:6.1f}"
