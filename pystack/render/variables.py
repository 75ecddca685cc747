"""The variables of a frame as lines of text. Imported only where there are any."""

from __future__ import annotations

from collections.abc import Iterator

from pystack.model import Frame, Variable
from pystack.render.escape import escape
from pystack.render.terminal import Palette

_MAX_VALUE_CHARS = 240
_ARGUMENTS = {
    "positional_only",
    "positional",
    "keyword_only",
    "var_positional",
    "var_keyword",
    "implicit",
}
_DEFINITIONS = ("<module ", "<function ", "<class ", "<built-in ")


def variable_lines(frame: Frame, palette: Palette, *, full: bool) -> Iterator[str]:
    """Truncates long values and skips what the source shows anyway, unless `full`."""
    variables = frame.variables or ()
    shown = [one for one in variables if full or not _is_known_from_source(frame, one)]
    heading = None
    for variable in shown:
        group = "Arguments" if variable.kind in _ARGUMENTS else "Locals"
        if group != heading:
            heading = group
            yield f"    {heading}:"
        value = "<redacted>" if variable.value is None else _short(variable.value, full)
        yield f"      {palette.name}{escape(variable.name)}{palette.reset} = {value}"
    if len(shown) < len(variables):
        left_out = f"{len(variables) - len(shown)} imports and definitions (--full shows them)"
        yield f"      {palette.dim}... {left_out}{palette.reset}"
    if frame.variables_omitted:
        what = "more" if variables else f"variable{'s' * (frame.variables_omitted > 1)} left out"
        yield f"      ... {frame.variables_omitted} {what}"
    if frame.variables_problem:
        yield f"    {palette.bad}[{escape(frame.variables_problem)}]{palette.reset}"


def _is_known_from_source(frame: Frame, variable: Variable) -> bool:
    """Whether it is an import, a definition, or a name that every module has."""
    if frame.function != "<module>":
        return False
    name = variable.name
    if name.startswith("__") and name.endswith("__"):
        return True
    return variable.value is not None and variable.value.startswith(_DEFINITIONS)


def _short(value: str, full: bool) -> str:
    rest = len(value) - _MAX_VALUE_CHARS
    note = f" ... {rest} more characters"
    # A note must not be longer than what it hides.
    if full or rest <= len(note):
        return escape(value)
    return escape(value[:_MAX_VALUE_CHARS]) + note
