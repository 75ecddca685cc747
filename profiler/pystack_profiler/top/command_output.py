"""The output of a command while the screen has the terminal."""

from __future__ import annotations

import os
import tempfile
from types import TracebackType

from pystack.cli.screen import print_lines, print_status

_LAST_BYTES, _LAST_LINES = 64 << 10, 40


class CommandOutput:
    """Keeps it in a file without a name, and prints its end when the screen is gone."""

    def __init__(self, *, hidden: bool) -> None:
        self._file = tempfile.TemporaryFile() if hidden else None  # noqa: SIM115

    @property
    def descriptor(self) -> int | None:
        """For stdout and stderr of the command; None: they are ours."""
        return None if self._file is None else self._file.fileno()

    def __enter__(self) -> CommandOutput:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is None:
            return
        with self._file as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - _LAST_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
        shown = lines[-_LAST_LINES:]
        if not shown:
            return
        is_all = size <= _LAST_BYTES and len(shown) == len(lines)
        print_status(
            "the command printed:" if is_all else "the last lines that the command printed:"
        )
        print_lines(shown)
