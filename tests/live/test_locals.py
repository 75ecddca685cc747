"""The values that `--locals` shows equal what the target says of them, for every interpreter.

`programs/values.py` has the frames and the expected texts: its own `repr()`s and the rules of
`docs/locals.md`.
"""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

import pystack
from interpreters import required
from process_state import run_state, thread_ids
from pystack.model import Frame
from targets import Interpreter
from tool_runs import dump_json, run_tool
from truthful_target import TruthfulTarget, truthful_target

pytestmark = pytest.mark.live

ARGUMENTS = {
    "positional_only",
    "positional",
    "var_positional",
    "keyword_only",
    "var_keyword",
    "implicit",
}

Variables = dict[str, dict[str, Any]]

CHANGING = """
def counts():
    number = 0
    while True:
        number += 1
        text = "number %d" % number
        row = [number, {"text": text}, (number, [text])]
        holder = Holder(row)
        if number == 1:
            print("ready", flush=True)

class Holder:
    def __init__(self, row):
        self.row = row

counts()
"""
DUMPS = 100


@pytest.fixture(scope="module", params=required(musl=True), ids=str)
def target(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TruthfulTarget]:
    folder = tmp_path_factory.mktemp("values")
    with truthful_target(request.param, "values.py", folder) as running:
        yield running


def flags(target: TruthfulTarget) -> list[str]:
    limits = target.truth["limits"]
    return ["--locals", *(f"--{name.replace('_', '-')}={limits[name]}" for name in sorted(limits))]


def frames_by_name(dump: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """The frames of functions that are there once."""
    frames: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for thread in dump["threads"]:
        for frame in thread["frames"]:
            frames.setdefault((frame["function"], frame["file"]), []).append(frame)
    return {name: found[0] for name, found in frames.items() if len(found) == 1}


def by_name(variables: list[dict[str, Any]]) -> Variables:
    named = {variable["name"]: variable for variable in variables}
    assert len(named) == len(variables), "a name is there twice"
    return named


def without_values(variables: Variables, names: set[str]) -> Variables:
    return {
        name: {**variable, "value": None} if name in names else variable
        for name, variable in variables.items()
    }


def test_values_equal_those_of_the_target(target: TruthfulTarget) -> None:
    dump = dump_json(target.pid, *flags(target))
    frames = frames_by_name(dump)
    wrong = []
    for expected in target.truth["expected"]:
        frame = frames[expected["function"], expected["file"]]
        assert frame["variables_problem"] is None
        assert frame["variables_omitted"] == 0
        wanted = by_name(expected["variables"])
        # The program leaves out the values of what it uses itself.
        open_values = {name for name, one in wanted.items() if one["value"] is None}
        shown = without_values(by_name(frame["variables"]), open_values)
        wrong += [
            f"{expected['function']}.{name}: {shown.get(name)} instead of {wanted.get(name)}"
            for name in sorted(set(shown) | set(wanted))
            if shown.get(name) != wanted.get(name)
        ]
    if wrong:
        pytest.fail("\n".join([f"{len(wrong)} variables:", *wrong[:40]]), pytrace=False)


def test_every_kind_of_value_is_there(target: TruthfulTarget) -> None:
    """A scene that is skipped by mistake would test nothing and look well."""
    skipped = {
        name: reason for name, reason in target.truth["skipped"].items() if name != "scene_numpy"
    }
    assert all(reason.startswith("the syntax came with") for reason in skipped.values())
    major, minor = (int(part) for part in target.truth["version"].split(".")[:2])
    assert (major, minor) < (3, 8) or not skipped
    assert len(target.truth["expected"]) >= 35


def test_arguments_come_first_and_in_order(target: TruthfulTarget) -> None:
    frame = next(
        frame
        for (function, _), frame in frames_by_name(dump_json(target.pid, "--locals")).items()
        if function == "takes_all"
    )
    names = [one["name"] for one in frame["variables"]]
    assert names[:7] == ["gate", "first", "second", "rest", "only", "other", "more"]
    for thread in dump_json(target.pid, "--locals")["threads"]:
        for one in thread["frames"]:
            arguments = [variable["kind"] in ARGUMENTS for variable in one["variables"]]
            assert arguments == sorted(arguments, reverse=True)


def test_hidden_values_are_shown_on_request(target: TruthfulTarget) -> None:
    dump = dump_json(target.pid, "--locals", "--no-redact")
    variables = by_name(find(dump, "scene_redacted")["variables"])
    assert variables["password"]["value"] == "'hunter2'"
    assert variables["holder"]["value"] == "Plain(user='me', password='hunter2')"
    assert not any(one["redacted"] for one in variables.values())


def test_further_names_are_hidden_on_request(target: TruthfulTarget) -> None:
    dump = dump_json(target.pid, "--locals", "--redact", "USER")
    variables = by_name(find(dump, "scene_redacted")["variables"])
    assert variables["holder"]["value"] == "Plain(user=<redacted>, password=<redacted>)"
    assert variables["password"]["redacted"]


def test_limits_are_those_asked_for(target: TruthfulTarget) -> None:
    dump = dump_json(target.pid, "--locals", "--max-items=2", "--max-string=4", "--max-depth=1")
    variables = by_name(find(dump, "scene_abbreviations")["variables"])
    assert variables["long_list"]["value"] == "[0, 1, ... 998 more]"
    assert variables["long_string"]["value"] == "'0123' ... 996 more"
    assert variables["deep"]["value"] == "[1, [... 2 more]]"


def test_a_small_budget_loses_values_and_no_frames(target: TruthfulTarget) -> None:
    whole = dump_json(target.pid, "--locals")
    small = dump_json(target.pid, "--locals", "--max-bytes=300")
    for one, other in zip(whole["threads"], small["threads"], strict=True):
        assert [f["function"] for f in one["frames"]] == [f["function"] for f in other["frames"]]
    spent = find(small, "scene_numbers")["variables"][-1]["value"]
    assert spent == "<not read: byte budget spent>"


def test_text_has_no_control_characters(target: TruthfulTarget) -> None:
    done = run_tool("dump", "--locals", "--no-redact", target.pid)
    assert done.returncode == 0, done.stderr
    assert all(line.isprintable() for line in done.stdout.split("\n"))
    assert "Plain(\\x1b[31m=1, \\u202e=2)" in done.stdout


def test_without_the_flag_there_are_none(target: TruthfulTarget) -> None:
    for thread in dump_json(target.pid)["threads"]:
        assert all(frame["variables"] is None for frame in thread["frames"])


def test_the_target_goes_on(target: TruthfulTarget) -> None:
    dump_json(target.pid, "--locals")
    assert {run_state(target.pid, tid) for tid in thread_ids(target.pid)} <= {"S", "R"}


def find(dump: dict[str, Any], function: str) -> dict[str, Any]:
    [found] = [
        frame
        for thread in dump["threads"]
        for frame in thread["frames"]
        if frame["function"] == function
    ]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("interpreter", required(), ids=str)
def test_values_are_of_one_moment(interpreter: Interpreter) -> None:
    """They are rendered when the target runs again, which changes them a million times a second."""
    with interpreter.spawn(["-c", CHANGING], stdout=subprocess.PIPE) as target:
        assert target.process.stdout is not None
        assert target.process.stdout.readline() == b"ready\n"
        for _ in range(DUMPS):
            now = counters(target.pid)
            number, last = int(now["number"]), int(now["text"].strip("'").split()[1])
            assert last in (number, number - 1)
            (of_row, *_) = ast.literal_eval(now["row"])
            assert of_row in (last, last - 1)
            text = f"number {of_row}"
            assert now["row"] == repr([of_row, {"text": text}, (of_row, [text])])
            (of_holder, *_) = ast.literal_eval(now["holder"][len("Holder(row=") : -1])
            assert of_holder in (of_row, of_row - 1)


def counters(pid: int) -> dict[str, str]:
    snapshot = pystack.dump(pid, locals=pystack.Locals())
    frames = [frame for thread in snapshot.threads for frame in thread.frames]
    return {
        one.name: one.value or ""
        for frame in frames
        if isinstance(frame, Frame) and frame.function == "counts"
        for one in frame.variables or ()
    }


#: Frames as those of a web server: some numbers, and objects that hold a lot.
MANY_FRAMES = """
class Request: pass
def call(depth):
    number, name = depth * 1000, "frame %d" % depth
    rows = [[str(i)] * 20 for i in range(100)]
    request = Request()
    request.headers = {str(i): [i] * 20 for i in range(100)}
    if depth:
        return call(depth - 1)
    print("ready", flush=True)
    input()
call(60)
"""


def test_what_every_variable_is_comes_before_what_is_inside_of_any() -> None:
    """The values of the first frames took all of the budget: of most others not even numbers were read."""
    interpreter = required()[-1]
    with interpreter.spawn(
        ["-c", MANY_FRAMES], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as target:
        assert target.process.stdout is not None
        target.process.stdout.readline()
        dump = dump_json(target.pid, "--locals")
    frames = [f for f in dump["threads"][0]["frames"] if f["function"] == "call"]
    assert len(frames) == 61
    for depth, frame in zip(range(60, -1, -1), frames, strict=True):  # the outermost frame first
        variables = by_name(frame["variables"])
        assert variables["number"]["value"] == str(1000 * depth)
        assert variables["name"]["value"] == f"'frame {depth}'"
        assert variables["rows"]["value"].endswith(" more]")
        assert "not read" not in variables["request"]["value"]
    # And the innermost frame is shown in full.
    assert by_name(frames[-1]["variables"])["rows"]["value"].startswith("[['0', '0', ")
