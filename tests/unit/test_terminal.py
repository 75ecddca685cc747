import io

import pytest

from pystack.cli.screen import write_lines
from pystack.render.terminal import wants_colour


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "terminal", "expected"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"CLICOLOR_FORCE": "1"}, False, True),
        ({"CLICOLOR_FORCE": "0"}, False, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, False),
        ({"CLICOLOR": "0"}, True, False),
        ({"TERM": "dumb"}, True, False),
    ],
)
def test_wants_colour(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], terminal: bool, expected: bool
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    stream = Terminal() if terminal else io.StringIO()
    assert wants_colour(stream) is expected
    assert wants_colour(stream, no_color=True) is False


def test_no_stream_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.delenv("CLICOLOR_FORCE", raising=False)
    closed = Terminal()
    closed.close()
    assert wants_colour(None) is False
    closed_file = io.StringIO()
    closed_file.close()
    assert wants_colour(closed_file) is False


def test_each_line_is_written_with_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["", "short", "x" * 70_000, "", "y" * 40_000, "z" * 40_000, "last"]
    write_lines(lines)
    assert capsys.readouterr().out == "".join(f"{line}\n" for line in lines)
