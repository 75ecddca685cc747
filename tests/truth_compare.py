"""Compares what a dump says with what the target said about itself (`programs/_truth.py`).

The rule is equality, field by field. What is less than that is said here, each with its reason, and
nowhere else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

Json = Mapping[str, Any]

FRAME_FIELDS = (
    "function",
    "qualname",
    "file",
    "line",
    "end_line",
    "column",
    "end_column",
    "first_line",
)
LONE_SURROGATE = re.compile("[\ud800-\udfff]")
REPLACEMENT = "\ufffd"
# Of a stack of 100,000 frames that is wrong from the first on, these are enough.
MAX_FRAMES_SHOWN = 3
KERNEL_NAME_BYTES = 15


def load_truth(path: Path) -> dict[str, Any]:
    """The truth with its stacks spelt out: each thread gets `frames`, outermost first."""
    truth: dict[str, Any] = json.loads(path.read_text())
    threads = []
    for part in (truth, *truth["parts"]):
        for thread in part["threads"]:
            thread["frames"] = [part["frames"][row] for row in thread["stack"]]
            threads.append(thread)
    truth["threads"] = threads
    return truth


def differences(truth: Json, dump: Json) -> list[str]:
    """Each way in which the dump is not the truth, in words; empty if it is."""
    found = list(header_differences(truth, dump))
    states = [state for thread in dump["threads"] for state in split_by_interpreter(thread)]
    pairs, unmatched, unknown = match_threads(truth["threads"], states)
    found.extend(separated_scenes(pairs))
    for thread in unmatched:
        found.append(f"{title(thread)}: not in the dump")
    for thread in unknown:
        leaf = thread["frames"][-1]["function"] if thread["frames"] else "no frames"
        found.append(
            f"dump has a thread that is not there: ident {thread['python_thread_id']:#x},"
            f" interpreter {thread['interpreter_id']}, name {thread['name']!r}, in {leaf}"
        )
    for true, dumped in pairs:
        found.extend(f"{title(true)}: {what}" for what in thread_differences(true, dumped))
    return found


def header_differences(truth: Json, dump: Json) -> Iterator[str]:
    inside = dump["pid"] if dump["namespace_pid"] is None else dump["namespace_pid"]
    for name, dumped in (
        ("pid", inside),
        ("version", dump["version"]),
        ("free_threaded", dump["free_threaded"]),
        ("debug", dump["debug"]),
        ("command", dump["command"]),
    ):
        if not equal(truth[name], dumped):
            yield f"{name}: {short(repr(truth[name]))} is {short(repr(dumped))} in the dump"
    # What may be missing of tasks is the business of their own tests.
    problems = [problem for problem in dump["problems"] if "asyncio tasks" not in problem]
    if problems:
        yield f"the dump has problems: {problems}"


def split_by_interpreter(thread: Json) -> Iterator[Json]:
    """One thread for each interpreter that runs code in it, as the interpreters tell it."""
    own = thread["interpreter_id"]
    parts: dict[int, list[Json]] = {own: []}
    for frame in thread["frames"]:
        parts.setdefault(frame.get("interpreter_id", own), []).append(frame)
    for interpreter_id, frames in parts.items():
        end = thread["stack_end"]
        yield {
            **thread,
            "interpreter_id": interpreter_id,
            "frames": frames,
            "stack_end": end if frames or end != "complete" else "no_python",
            # It has its name where it began, and handles what its innermost function does.
            "has_name": interpreter_id == min(parts),
            "is_innermost": interpreter_id == own,
        }


def separated_scenes(pairs: Sequence[tuple[Json, Json]]) -> Iterator[str]:
    """The scenes of which parts in several interpreters are not in the thread that played them."""
    threads: dict[str, set[int]] = {}
    for true, dumped in pairs:
        threads.setdefault(true["scene"].removesuffix(" (first thread)"), set()).add(dumped["tid"])
    for scene, tids in threads.items():
        # The scene has a thread more, which it started in its interpreter.
        if len(tids) > 1 + ("with a thread" in scene):
            yield f"{scene}: in threads {sorted(tids)}"


def match_threads(
    truth: Sequence[Json], dump: Sequence[Json]
) -> tuple[list[tuple[Json, Json]], list[Json], list[Json]]:
    """Pairs of the same thread state, those of the truth only, and those of the dump only.

    A thread that runs code of a subinterpreter has one state in that and one in the interpreter
    that it came from, with the same ident.
    """
    pairs, unmatched = [], []
    unknown = list(dump)
    for thread in truth:
        same_ident = [
            one
            for one in unknown
            if one["python_thread_id"] == thread["ident"]
            # The interpreter itself has another thread's ids here; see `tell_own()`.
            or (thread["ident"] is None and names(one) == names(thread))
        ]
        if thread["interpreter_id"] is None:
            # Up to 3.7 there is no asking for it. The number is the reader's, but it is not 0.
            same = [one for one in same_ident if one["interpreter_id"] != 0]
        else:
            same = [one for one in same_ident if one["interpreter_id"] == thread["interpreter_id"]]
        if same:
            pairs.append((thread, same[0]))
            unknown.remove(same[0])
        else:
            unmatched.append(thread)
    # Up to 3.12 a new subinterpreter has a thread state of its maker's, which never runs anything.
    unknown = [one for one in unknown if one["frames"] or one["interpreter_id"] == 0]
    return pairs, unmatched, unknown


def names(thread: Json) -> list[str]:
    return [frame["function"] for frame in thread["frames"]]


def thread_differences(truth: Json, dump: Json) -> Iterator[str]:
    for name in ("name", "is_main"):
        if truth["ident"] is not None and dump["has_name"] and not equal(truth[name], dump[name]):
            yield f"{name} {short(repr(truth[name]))} is {short(repr(dump[name]))} in the dump"
    if truth["native_id"] is not None:
        tid = dump["tid"] if dump["namespace_tid"] is None else dump["namespace_tid"]
        if tid != truth["native_id"]:
            yield f"native id {truth['native_id']} is {tid} in the dump"
    if truth["kernel_name"] is not None and not equal(truth["kernel_name"], dump["kernel_name"]):
        yield f"kernel name {truth['kernel_name']!r} is {dump['kernel_name']!r} in the dump"
    if (
        "handling" in truth
        and dump["is_innermost"]
        and not equal(truth["handling"], dump["handling"])
    ):
        yield f"handles {truth['handling']}, {dump['handling']} in the dump"
    if dump["raising"] is not None:
        yield f"raises nothing, {dump['raising']} in the dump"
    end = "complete" if truth["frames"] else "no_python"
    if dump["stack_end"] != end:
        yield f"stack is {end}, {dump['stack_end']} in the dump ({dump['stack_problem']})"
    yield from stack_differences(truth["frames"], dump["frames"])


def stack_differences(truth: Sequence[Json], dump: Sequence[Json]) -> Iterator[str]:
    if len(truth) != len(dump):
        yield f"{len(truth)} frames, {len(dump)} in the dump"
    shown = 0
    for index, (true, dumped) in enumerate(zip(truth, dump, strict=False)):
        wrong = [name for name in FRAME_FIELDS if not frame_field_equal(name, true, dumped)]
        if dumped["kind"] != "python":
            wrong.append("kind")
        if wrong:
            shown += 1
            if shown > MAX_FRAMES_SHOWN:
                yield "(and more)"
                return
            both = ", ".join(
                f"{name} {short(repr(true.get(name)))} is {short(repr(dumped[name]))}"
                for name in wrong
            )
            yield f"frame {index} ({place(true)}): {both}"


def frame_field_equal(name: str, truth: Json, dump: Json) -> bool:
    if name == "end_line" and truth["end_line"] is None and truth["column"] is None:
        # Below 3.11 the interpreter has no end of an expression. A reader may say that it ends in
        # its line, which is what it shows anyway.
        return dump["end_line"] in (None, truth["line"])
    return equal(truth[name], dump[name])


def equal(truth: object, dump: object) -> bool:
    """Equality, but a lone surrogate, which UTF-8 cannot have, may come as replacements."""
    if isinstance(truth, str) and isinstance(dump, str) and LONE_SURROGATE.search(truth):
        pieces = [re.escape(piece) for piece in LONE_SURROGATE.split(truth)]
        pattern = f"(?:[\ud800-\udfff]|{REPLACEMENT}{{1,3}})".join(pieces)
        return re.fullmatch(pattern, dump, re.DOTALL) is not None
    return truth == dump


def title(thread: Json) -> str:
    interpreter = thread["interpreter_id"]
    suffix = "" if interpreter == 0 else f" in interpreter {interpreter}"
    return f"scene {short(repr(thread['scene']))}{suffix}"


def place(frame: Json) -> str:
    return short(f"{frame['function']} at {frame['file']}:{frame['line']}")


def short(text: str) -> str:
    most = 100
    if len(text) <= most:
        return text
    return f"{text[: most // 2]} ... {text[-most // 2 :]} ({len(text)} characters)"
