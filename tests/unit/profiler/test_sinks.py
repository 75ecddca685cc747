from __future__ import annotations

import io
import os
import stat
import sys
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from profiler_fakes import MS, BatchWriter, Frame, recording_of
from pystack_profiler import exporters
from pystack_profiler.output import STDOUT
from pystack_profiler.profile import Recording
from pystack_profiler.sinks import FileSink, Sink
from pystack_profiler.view import DEFAULT_VIEW, View


def export_bytes(recording: Recording, stream: BinaryIO, view: View = DEFAULT_VIEW) -> None:
    stream.write(b"\xff\x00%d" % recording.sample_count)


BINARY = exporters.Format(
    "bytes", (), (".bin",), export_bytes, "od {path}", holds_command_line=True, is_binary=True
)


def recording(samples: int) -> Recording:
    writer = BatchWriter()
    thread = writer.thread(100)
    for tick in range(1, samples + 1):
        writer.sample(thread, tick * MS, MS, [Frame("f")])
    return recording_of(writer)


def test_each_window_replaces_the_file(tmp_path: Path) -> None:
    path = tmp_path / "out.folded"
    sink: Sink = FileSink(str(path), exporters.FOLDED)
    sink.open()
    assert not path.exists()
    for samples in (1, 2):
        sink.write(recording(samples))
        assert path.read_text() == f"f (app.py) {samples}000\n"
    sink.close()
    assert list(tmp_path.iterdir()) == [path]


def test_binary_formats_write_bytes(tmp_path: Path) -> None:
    path = tmp_path / "out.bin"
    FileSink(str(path), BINARY).write(recording(3))
    assert path.read_bytes() == b"\xff\x003"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    def fail(recording: Recording, stream: Any, view: View = DEFAULT_VIEW) -> None:
        stream.write("half")
        raise OSError("disk full")

    path = tmp_path / "out.txt"
    path.write_text("old")
    broken = exporters.Format("broken", (), (".txt",), fail, "", holds_command_line=False)
    with pytest.raises(OSError, match="disk full"):
        FileSink(str(path), broken).write(recording(1))
    assert path.read_text() == "old"


def test_a_missing_folder_is_found_at_the_opening(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FileSink(str(tmp_path / "missing" / "out.txt"), exporters.FOLDED).open()


def test_bytes_go_to_stdout_but_not_to_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    stdout = io.TextIOWrapper(raw)
    monkeypatch.setattr(sys, "stdout", stdout)
    FileSink(STDOUT, BINARY).write(recording(3))
    assert raw.getvalue() == b"\xff\x003"
    master, terminal = os.openpty()
    with open(terminal, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with pytest.raises(OSError, match="binary"):
            FileSink(STDOUT, BINARY).write(recording(3))
    os.close(master)
