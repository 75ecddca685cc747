"""The Firefox Profiler's format, and what Firefox's own profiler-cli says of it (`python tools/viewers.py` fetches it)."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import viewers
from process_state import wait_until
from profiler_fakes import MS, BatchWriter, Frame, Wait, recording_of
from pystack.sampling import FrameKind, SampleState
from pystack_profiler import function_totals
from pystack_profiler.aggregate import display_order
from pystack_profiler.exporters import FIREFOX, by_suffix
from pystack_profiler.naming import thread_title
from pystack_profiler.profile import Recording
from pystack_profiler.sinks import FileSink
from pystack_profiler.view import MODES, View
from random_recordings import random_recording

_KNOWN = SampleState.CPU_KNOWN | SampleState.GIL_KNOWN
_RUNS = _KNOWN | SampleState.ON_CPU
_HOLDS = _RUNS | SampleState.HOLDS_GIL
_WAITS = _KNOWN | SampleState.WAITS_FOR_GIL


def data_of(recording: Recording, view: View | None = None) -> dict[str, Any]:
    stream = io.StringIO()
    FIREFOX.export(recording, stream, view or View())
    data: dict[str, Any] = json.loads(stream.getvalue())
    check_tables(data)
    return data


def check_tables(data: dict[str, Any]) -> None:
    """Columns are of equal length, and indices are in range."""
    shared, meta = data["shared"], data["meta"]
    sizes = {name: table["length"] for name, table in shared.items() if name != "stringArray"}
    sizes |= {"stringArray": len(shared["stringArray"]), "libs": len(data["libs"])}
    sizes["categories"] = len(meta["categories"])
    for thread in data["threads"]:
        for table in (thread["samples"], thread["markers"], *map(shared.get, sizes)):
            if not isinstance(table, dict):
                continue
            columns = [column for column in table.values() if isinstance(column, list)]
            assert {len(column) for column in columns} <= {table["length"]}
    references = [
        ("stackTable", "frame", "frameTable"),
        ("frameTable", "func", "funcTable"),
        ("frameTable", "category", "categories"),
        ("funcTable", "name", "stringArray"),
        ("funcTable", "resource", "resourceTable"),
        ("funcTable", "source", "sources"),
        ("resourceTable", "lib", "libs"),
        ("resourceTable", "name", "stringArray"),
        ("sources", "filename", "stringArray"),
    ]
    for table, column, into in references:
        for index in shared[table][column]:
            assert index in (None, -1) or 0 <= index < sizes[into], (table, column)
    for stack, prefix in enumerate(shared["stackTable"]["prefix"]):
        assert prefix is None or 0 <= prefix < stack
    kinds = {schema["name"] for schema in meta["markerSchema"]}
    for thread in data["threads"]:
        samples, markers = thread["samples"], thread["markers"]
        assert samples["time"] == sorted(samples["time"])
        stacks = sizes["stackTable"]
        assert all(stack is None or 0 <= stack < stacks for stack in samples["stack"])
        for begin, end, payload in zip(
            markers["startTime"], markers["endTime"], markers["data"], strict=True
        ):
            assert 0 <= begin <= end
            assert payload["type"] in kinds
        assert all(0 <= name < sizes["stringArray"] for name in markers["name"])
        assert all(0 <= one < sizes["categories"] for one in markers["category"])


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("mode", MODES)
def test_tables_are_valid_and_cpu_times_are_the_threads(seed: int, mode: str) -> None:
    recording = random_recording(seed, processes=1 + seed % 2)
    data = data_of(recording, View(mode))  # type: ignore[arg-type]
    assert data["meta"]["preprocessedProfileVersion"] >= 60
    assert len(data["threads"]) == len(list(recording.tracks()))
    found = sorted(sum(thread["samples"].get("threadCPUDelta", [])) for thread in data["threads"])
    known = sorted(
        sum(run.cpu_ns for run in track.runs()) if track.states & SampleState.CPU_KNOWN else 0
        for _, track in recording.tracks()
    )
    assert found == known


def the_recording() -> Recording:
    """Two threads; the second waits for the GIL and collects garbage."""
    main, work = Frame("main", line=3), Frame("work", "/srv/work.py", 10, 12)
    native = Frame("solve", "/src/solve.c", -1, 20, FrameKind.NATIVE, "/usr/lib/libsolve.so")
    native = native._replace(build_id="0123456789abcdef0123456789abcdef01234567", address=0x1234)
    writer = BatchWriter()
    first, second = writer.thread(100, "MainThread"), writer.thread(101, "worker")
    for tick in range(1, 101):
        stack = [main, work] if tick % 4 else [main, work, native]
        writer.sample(first, tick * 10 * MS, 10 * MS, stack, _HOLDS)
        state = _WAITS if tick <= 30 else _RUNS | SampleState.GC if tick <= 50 else _KNOWN
        writer.sample(second, tick * 10 * MS, 10 * MS, [work], state)
    return recording_of(writer, start_ns=1, end_ns=1000 * MS, attempted=200, taken=200)


def test_markers_are_stretches_of_states() -> None:
    data = data_of(the_recording())
    strings = data["shared"]["stringArray"]
    first, second = (thread["markers"] for thread in data["threads"])
    assert first["length"] == 0
    rows = zip(second["name"], second["startTime"], second["endTime"], second["data"], strict=True)
    found = [(strings[name], begin, end, payload["samples"]) for name, begin, end, payload in rows]
    base = 1e-6  # the recording begins after 1 ns
    assert [
        (name, pytest.approx(begin + base), end + base, count) for name, begin, end, count in found
    ] == [
        ("GIL wait", pytest.approx(base), pytest.approx(300), 30),
        ("Garbage collection", pytest.approx(300), pytest.approx(500), 20),
        ("Off CPU", pytest.approx(500), pytest.approx(1000), 50),
    ]


def test_markers_say_what_is_waited_for() -> None:
    """A wait for something else is another marker, though the state is the same."""
    writer = BatchWriter()
    thread = writer.thread(100, "MainThread")
    lock = Wait("lock", "_thread.lock", "Account.lock")
    timer = Wait("timer")
    off_cpu = SampleState.CPU_KNOWN | SampleState.GIL_KNOWN
    for second, wait in enumerate((lock, lock, timer, None), 1):
        writer.sample(thread, second * 1000 * MS, 1000 * MS, [Frame("f")], off_cpu, wait=wait)
    data = data_of(recording_of(writer, start_ns=1, end_ns=4000 * MS))
    (markers,) = (thread["markers"] for thread in data["threads"])
    assert [
        (round(begin), one["reason"], one["samples"])
        for begin, one in zip(markers["startTime"], markers["data"], strict=True)
    ] == [
        (0, "<waiting: lock Account.lock>", 2),
        (2000, "<waiting: sleep>", 1),
        (3000, "unknown", 1),
    ]
    names = [category["name"] for category in data["meta"]["categories"]]
    assert {names[one] for one in data["shared"]["frameTable"]["category"]} == {"Python", "Waiting"}


def test_native_code_has_its_library() -> None:
    data = data_of(the_recording())
    (library,) = data["libs"]
    assert library["path"] == "/usr/lib/libsolve.so"
    assert library["codeId"] == "0123456789abcdef0123456789abcdef01234567"
    assert library["breakpadId"] == "67452301AB89EFCD0123456789ABCDEF0"
    shared = data["shared"]
    (frame,) = [at for at, address in enumerate(shared["frameTable"]["address"]) if address >= 0]
    assert shared["frameTable"]["address"][frame] == 0x1234
    function = shared["frameTable"]["func"][frame]
    assert shared["funcTable"]["resource"][function] == 0
    assert shared["stringArray"][shared["resourceTable"]["name"][0]] == "libsolve.so"


def test_processes_with_the_same_pid_are_told_apart() -> None:
    recording = random_recording(2, processes=2)
    for profile in recording.profiles:
        profile.process.pid = 7
    assert {thread["pid"] for thread in data_of(recording)["threads"]} == {"7", "7.2"}


def test_strange_names_and_no_threads() -> None:
    writer = BatchWriter()
    frames = [Frame("\udc80\0\x1b</script>", "\udcff", -1, -1)]
    writer.sample(writer.thread(2**31, "\udc80\0"), 2**61, 2**60, frames)
    (thread,) = data_of(recording_of(writer))["threads"]
    assert "\0" not in thread["name"]
    assert data_of(recording_of(BatchWriter()))["threads"] == []


def test_the_suffix_says_whether_it_is_compressed(tmp_path: Path) -> None:
    recording = the_recording()
    for name in ("x.json.gz", "x.firefox.json"):
        assert by_suffix(name) is FIREFOX
        FileSink(str(tmp_path / name), FIREFOX).write(recording)
    plain = (tmp_path / "x.firefox.json").read_bytes()
    assert gzip.decompress((tmp_path / "x.json.gz").read_bytes()) == plain
    assert (tmp_path / "x.json.gz").stat().st_mode & 0o777 == 0o600


class ProfilerCli:
    """Firefox's profiler-cli. Its `load` waits half a second for its daemon, which is not enough on a busy machine,
    so the daemon is our child."""

    def __init__(self, folder: Path) -> None:
        self._command = viewers.profiler_cli()
        self._folder = folder
        self._environment = {**os.environ, "PROFILER_CLI_SESSION_DIR": str(folder / "s")}
        self._daemon: subprocess.Popen[bytes] | None = None
        self._session = 0
        (folder / "s").mkdir()

    def load(self, recording: Recording, view: View) -> None:
        self.close()
        path = self._folder / "x.json.gz"
        FileSink(str(path), FIREFOX, view).write(recording)
        self._session += 1
        self._daemon = subprocess.Popen(
            [*self._command, "--daemon", str(path), "--session", f"session{self._session}"],
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        # A question that comes before its socket is there would end the session.
        socket = self._folder / "s" / f"session{self._session}.sock"
        wait_until(socket.exists, "the daemon's socket")
        wait_until(lambda: self._run("profile", "info").returncode == 0, "the profile")

    def ask(self, *arguments: str) -> Any:
        result = self._run(*arguments, "--json")
        assert result.returncode == 0, result.stderr + result.stdout
        return json.loads(result.stdout)

    def close(self) -> None:
        if self._daemon is not None:
            self._daemon.kill()
            self._daemon.wait()

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self._command, *arguments, "--session", f"session{self._session}"],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
        )


@pytest.fixture
def profiler(tmp_path: Path) -> Iterator[ProfilerCli]:
    cli = ProfilerCli(tmp_path)
    yield cli
    cli.close()


def test_firefox_has_the_same_functions(profiler: ProfilerCli) -> None:
    """In all threads, and in all modes: names, self and total times."""
    for recording, mode in ((the_recording(), "wall"), (random_recording(3, processes=2), "cpu")):
        view = View(mode)  # type: ignore[arg-type]
        tracks = list(recording.tracks())
        profiler.load(recording, view)
        for position, index in enumerate(display_order(tracks)):
            every = ("--include-idle", "--limit", "0")
            answer = profiler.ask("thread", "functions", "--thread", f"t-{position}", *every)
            profile, track = tracks[index]
            assert answer["friendlyThreadName"] == thread_title(track.identity)
            found = {
                one["name"]: (one["selfSamples"], one["totalSamples"])
                for one in answer["functions"]
                if one["totalSamples"]
            }
            known = function_totals(recording, view, [(profile, track)])
            assert found == {
                total.label.name: (
                    pytest.approx(total.self_ns / MS, abs=1e-3),
                    pytest.approx(total.total_ns / MS, abs=1e-3),
                )
                for total in known
            }


def test_firefox_sees_markers_cpu_use_and_losses(profiler: ProfilerCli) -> None:
    profiler.load(the_recording(), View())
    info = profiler.ask("profile", "info")
    assert info["name"] == "python app.py (pid 100, CPython 3.13.5)"
    (process,) = info["processes"]
    assert [(one["name"], round(one["cpuMs"])) for one in process["threads"]] == [
        ("MainThread 100", 1000),
        ("worker 101", 200),
    ]
    markers = profiler.ask("thread", "markers", "--thread", "t-1")
    assert {
        (one["markerName"], round(one["durationStats"]["max"])) for one in markers["byType"]
    } == {("GIL wait", 300), ("Garbage collection", 200), ("Off CPU", 500)}
    text = json.dumps(profiler.ask("profile", "meta"))
    assert "200, none lost" in text
