"""Variables: options, JSON, text."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from pystack import api
from pystack.cli.group import cli
from pystack.locals_options import REDACTED_NAMES, Locals
from pystack.model import Snapshot
from pystack.render.text import render_text
from pystack.render.text_options import TextOptions
from raw_snapshots import raw_frame, raw_snapshot, raw_thread, raw_variable


def snapshot_with(*variables: Any, **fields: Any) -> Snapshot:
    frame = raw_frame(variables=list(variables), **fields)
    return Snapshot.from_raw(raw_snapshot(raw_thread(frames=[frame])))


def text_of(snapshot: Snapshot) -> list[str]:
    return list(render_text(snapshot))


def test_arguments_come_before_locals() -> None:
    lines = text_of(
        snapshot_with(raw_variable("a", "1", kind="positional"), raw_variable("b", "2"))
    )
    start = lines.index("    Arguments:")
    assert lines[start : start + 4] == [
        "    Arguments:",
        "      a = 1",
        "    Locals:",
        "      b = 2",
    ]


def test_what_is_left_out_is_said() -> None:
    lines = text_of(
        snapshot_with(
            raw_variable("token", None),
            variables_omitted=3,
            variables_problem="cannot read 8 bytes",
        )
    )
    assert "      token = <redacted>" in lines
    assert "      ... 3 more" in lines
    assert "    [cannot read 8 bytes]" in lines


def test_variables_that_are_only_counted() -> None:
    assert "      ... 3 variables left out" in text_of(snapshot_with(variables_omitted=3))
    assert "      ... 1 variable left out" in text_of(snapshot_with(variables_omitted=1))


def test_long_values_are_cut_unless_asked_for() -> None:
    snapshot = snapshot_with(raw_variable("a", "x" * 1000))
    assert f"      a = {'x' * 240} ... 760 more characters" in text_of(snapshot)
    assert f"      a = {'x' * 1000}" in list(render_text(snapshot, TextOptions(full=True)))


def test_a_note_is_not_longer_than_what_it_hides() -> None:
    note = " ... 24 more characters"
    value = "x" * (240 + len(note))
    assert f"      a = {value}" in text_of(snapshot_with(raw_variable("a", value)))
    longer = snapshot_with(raw_variable("a", value + "x"))
    assert f"      a = {'x' * 240} ... 24 more characters" in text_of(longer)


def test_of_a_module_only_what_its_source_does_not_tell() -> None:
    variables = [
        raw_variable("__name__", "'__main__'"),
        raw_variable("sys", "<module 'sys'>"),
        raw_variable("Shop", "<class '__main__.Shop'>"),
        raw_variable("count", "3"),
    ]
    lines = text_of(snapshot_with(*variables, function="<module>"))
    start = lines.index("    Locals:")
    assert lines[start + 1 : start + 3] == [
        "      count = 3",
        "      ... 3 imports and definitions (--full shows them)",
    ]
    assert "      sys = <module 'sys'>" in text_of(snapshot_with(*variables))
    whole = render_text(snapshot_with(*variables, function="<module>"), TextOptions(full=True))
    assert "      sys = <module 'sys'>" in list(whole)


def test_control_characters_reach_no_terminal() -> None:
    lines = text_of(snapshot_with(raw_variable("a\x1b", "\x1b[2J")))
    assert not any("\x1b" in line for line in lines)


def test_json_has_them() -> None:
    document = snapshot_with(raw_variable("a", "1")).to_json_dict()
    [frame] = document["threads"][0]["frames"]
    assert frame["variables"] == [raw_variable("a", "1")]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], None),
        (["--locals"], Locals()),
        (["-l", "--max-depth", "2", "--redact", "pin"], Locals(2, redact=(*REDACTED_NAMES, "pin"))),
        (
            ["-l", "--no-redact"],
            Locals(redact=(), redact_words=(), redact_text=False),
        ),
    ],
)
def test_options(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], expected: Locals | None
) -> None:
    asked: list[Locals | None] = []

    def dump(pid: int, *, locals: Locals | None, **_: object) -> Snapshot:
        asked.append(locals)
        return Snapshot.from_raw(raw_snapshot())

    monkeypatch.setattr(api, "dump", dump)
    result = CliRunner().invoke(cli, ["dump", "1", "--no-source", *arguments])
    assert result.exit_code == 0, result.output
    assert asked == [expected]


def test_options_that_exclude_each_other() -> None:
    arguments = ["dump", "1", "-l", "--redact", "x", "--no-redact"]
    assert CliRunner().invoke(cli, arguments).exit_code == 2
