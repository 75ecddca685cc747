import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pystack.model import CoreDetails, Snapshot
from pystack.render.source import SourceReader
from pystack.render.text import render_text
from pystack.render.text_options import TextOptions
from raw_snapshots import raw_core, raw_core_module, raw_frame, raw_snapshot, raw_thread

LONG_AGO = 1_000_000_000


@pytest.fixture(autouse=True)
def in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def render(*threads: dict[str, Any], core: Any = None, path: str = "core.1", **fields: Any) -> str:
    sources = fields.pop("sources", None)
    options = TextOptions(**{key: fields.pop(key) for key in TextOptions._fields if key in fields})
    raw = raw_snapshot(*threads, core=core or raw_core(), **fields)
    return "\n".join(
        render_text(
            Snapshot.from_raw(raw, CoreDetails.from_raw(raw["core"], path)), options, sources
        )
    )


def test_the_whole() -> None:
    text = render(
        raw_thread(4711, name="MainThread", is_main=True, run_state=None, kernel_name=None),
        raw_thread(4712, name="worker", gil="holds", run_state=None, kernel_name=None),
        core=raw_core(terminating_tid=4712),
    )
    assert (
        text
        == """\
Core core.1 of process 4711: CPython 3.13.5, python app.py --port 8000, 2 threads
Cause: SIGSEGV: address not mapped (SEGV_MAPERR) at 0x10
Process: parent 1, uid 1000, gid 1000, running
Executable: /usr/bin/python3.13
Written: 2023-11-14 22:13:20 +0000

Thread 4712 "worker" [received SIGSEGV, holds the GIL] (most recent call last):
  File "/srv/app.py", line 3, in work

Thread 4711 "MainThread" (most recent call last):
  File "/srv/app.py", line 3, in work"""
    )


def test_what_is_not_known() -> None:
    core = raw_core(
        cause="generated on demand",
        signal=None,
        signal_name=None,
        terminating_tid=None,
        **dict.fromkeys(("ppid", "uid", "gid", "state")),
    )
    text = render(core=core, pid=0, command=None, executable=None)
    assert text.startswith(
        "Core core.1 of an unknown process: CPython 3.13.5, command unknown, 1 thread\n"
        "Cause: generated on demand\n"
        "Process: parent unknown, uid unknown, gid unknown\n"
        "Written: "
    )
    assert "received" not in text


def test_thread_that_python_does_not_know() -> None:
    text = render(core=raw_core(terminating_tid=99))
    assert "\nReceived by thread 99, which is not a Python thread (--native shows it).\n" in text


def test_the_dead_thread_stands_alone() -> None:
    threads = [raw_thread(tid, name="pool", run_state=None) for tid in (1, 2, 3)]
    text = render(*threads, core=raw_core(terminating_tid=2))
    assert '\nThread 2 "pool" [received SIGSEGV] (' in text
    assert '\nThreads 1, 3 "pool", "pool" (2 threads, ' in text
    assert "\nThread 1 " in render(*threads, core=raw_core(terminating_tid=2), group=False)


def test_shutting_down_was_then() -> None:
    interpreters = [{"id": 0, "gc_collecting": True, "finalizing": True}]
    text = render(interpreters=interpreters)
    assert "\nThe interpreter was shutting down; threads may be missing.\n" in text
    assert "\nThe interpreter was collecting garbage.\n" in text


def test_problems_stand_first() -> None:
    text = render(problems=["the core is truncated: 5 bytes are missing"])
    assert text.split("\n\n")[0].endswith("\nWarning: the core is truncated: 5 bytes are missing")


def test_cut_arguments() -> None:
    assert "python app.py --port 8000 ..., 1 thread\n" in render(core=raw_core(arguments_cut=True))


def test_missing_and_refused_files() -> None:
    missing = [
        raw_core_module(f"/usr/lib/lib{number}.so", status="missing", found_path=None)
        for number in range(5)
    ]
    refused = [
        raw_core_module(
            f"/usr/lib/{name}.so",
            status="mismatched",
            found_path=f"/copy/{name}.so",
            core_build_id="aa",
            file_build_id="bb",
        )
        for name in ("a", "b", "c", "d", "libpython3.13")
    ]
    core = raw_core(modules=[*missing, raw_core_module(), *refused])
    lines = render(core=core).split("\n\n")[0].splitlines()[5:]
    assert lines == [
        *(
            f"Warning: /copy/{name}.so was not used: it has build ID bb, but the core was written"
            " with build ID aa"
            for name in ("libpython3.13", "a", "b", "c")
        ),
        "Warning: 1 more file with a different build ID was not used (-v lists all)",
        "Missing: 5 of 11 mapped files: lib0.so, lib1.so, lib2.so, lib3.so, 1 more (-v lists them)",
    ]
    assert "Warning: /copy/d.so was not used: " in render(core=core, full=True)
    assert "lib4.so" in render(core=core, full=True)
    unknown = raw_core_module(status="mismatched", core_build_id=None, file_build_id="")
    assert "it has no build ID, but the core was written with an unknown build ID" in render(
        core=raw_core(modules=[unknown])
    )


def test_a_file_that_is_mapped_twice_is_one_file() -> None:
    modules = [
        raw_core_module(
            "/usr/lib/liba.so", status="missing", found_path=None, core_build_id=build_id
        )
        for build_id in ("aa", None, "aa")
    ]
    text = render(core=raw_core(modules=[*modules, raw_core_module()]))
    assert "Missing: 1 of 2 mapped files: liba.so (-v lists them)" in text
    replaced = raw_core_module("/usr/lib/liba.so", status="missing", core_build_id="bb")
    text = render(core=raw_core(modules=[*modules, replaced]))
    assert "Missing: 2 of 2 mapped files: liba.so, liba.so (-v lists them)" in text


def test_hostile_strings() -> None:
    evil = "\x1b]0;x\x07\n\u202e"
    core = raw_core(
        cause=evil,
        signal_name=evil,
        state="\x1b",
        terminating_tid=1,
        modules=[
            raw_core_module(evil, status=status, core_build_id=evil, file_build_id=evil)
            for status in ("missing", "mismatched")
        ],
    )
    thread = raw_thread(1, name=evil, frames=[raw_frame(evil, 1, file=evil)])
    text = render(thread, core=core, path=evil, executable=evil, command=[evil], version=evil)
    assert all(line.isprintable() for line in text.split("\n"))


def test_impossible_dates() -> None:
    assert "\nWritten: " in render(core=raw_core(written_ns=2**63 - 1))
    assert "\nWritten: " in render(core=raw_core(written_ns=-(2**63)))


# --- source files ---------------------------------------------------------------------------------


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everyone may look into, as pytest's own are not."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def core_reader(written_ns: int, *roots: str) -> SourceReader:
    """For a core of our own."""
    user = os.getuid()
    raw = raw_core(written_ns=written_ns, written_by=user or None, uid=user)
    return SourceReader.of_core(CoreDetails.from_raw(raw, "core"), roots)


def line_of(reader: SourceReader, path: str) -> str | None:
    source = reader.file(path)
    return None if source is None else source.line(1)


def test_source_of_this_machine_and_of_the_copy(public: Path) -> None:
    root = public / "root"
    (root / "srv").mkdir(parents=True)
    here = public / "app.py"
    here.write_text("here\n")
    (root / "srv" / "app.py").write_text("in the copy\n")
    (root / "srv" / "link.py").symlink_to("/srv/app.py")
    (root / "srv" / "out.py").symlink_to("/../../" + str(here))
    far_future_ns = 10**19
    plain = core_reader(far_future_ns)
    copied = core_reader(far_future_ns, str(root))
    assert line_of(plain, str(here)) == line_of(copied, str(here)) == "here"
    assert line_of(copied, "/srv/app.py") == line_of(copied, "/srv/link.py") == "in the copy"
    assert line_of(copied, "/srv/out.py") is None
    # Where the process was at home is not known.
    assert line_of(plain, "app.py") is None
    assert line_of(plain, "<string>") is None


def test_source_that_is_newer_than_the_core(public: Path) -> None:
    root = public / "root"
    root.mkdir()
    (root / "copied.py").write_text("    wait()\n")
    os.utime(root / "copied.py", (LONG_AGO, LONG_AGO))
    (public / "new.py").write_text("    wait()\n")
    frames = [
        raw_frame("f", 1, file=str(public / "new.py")),
        raw_frame("g", 1, file="/copied.py"),
    ]
    reader = core_reader((LONG_AGO + 100) * 10**9, str(root))
    text = render(raw_thread(frames=frames), sources=reader)
    # Copying a file changes one of its dates, but not the one of its contents.
    assert text.endswith(
        f"""\
  File "{public}/new.py", line 1, in f
    wait()
    (source changed since the core was written: other lines may have run)
  File "/copied.py", line 1, in g
    wait()"""
    )
