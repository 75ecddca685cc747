"""Hints speak of the API in exceptions, and of options in the command."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from pystack import cli, errors
from pystack.cli.hints import in_options

PACKAGE = Path(errors.__file__).parent
ARGUMENT = re.compile(r"\b[a-z_]+=(?:True|False|\.\.\.)")
OUR_OPTION = re.compile(r"--(?:no-block|exhaustive|lib-search|locals|native)")


def texts_of(module: str) -> list[str]:
    tree = ast.parse((PACKAGE / module).read_text())
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


@pytest.mark.parametrize("module", ["errors.py", "diagnosis.py", "api.py"])
def test_exceptions_know_no_options(module: str) -> None:
    assert [text for text in texts_of(module) if OUR_OPTION.search(text)] == []


@pytest.mark.parametrize("module", ["errors.py", "diagnosis.py"])
def test_each_argument_in_a_hint_has_its_option(module: str) -> None:
    hints = [text for text in texts_of(module) if ARGUMENT.search(text)]
    assert hints
    for hint in hints:
        assert ARGUMENT.search(in_options(hint)) is None


def test_the_command_returns_its_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert cli.main(["dump", "--nonsense"]) == 2
    assert cli.main(["dump", str(2**31)]) == 5
    assert "there is no process" in capsys.readouterr().err
