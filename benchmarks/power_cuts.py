#!/usr/bin/env python3
"""Whether a recording file can be read after a power cut at any moment, and how much of it is missing.

A busy program is recorded into a `.pystack` file under strace, which writes down what reaches the kernel: writes, changes of
sizes, names, and fsync. Then disks are made as a power cut could leave them. What was there at the last completed fsync of a
file, or of a folder, is there; of each later write some blocks are and others not, each for itself, and so are changes of a
size; later names are as far as some moment. Each disk is opened by the reader of recordings. It has to have the samples of
the last transaction that was completed before the cut.

    python benchmarks/power_cuts.py [--disks 400] [--seconds 5] [--rate 1000] [--folder .] [--shared]

`--shared`: the recording is for a folder that others can write to, so the file grows in a folder of its own, and moves at the end.
"""

from __future__ import annotations

import argparse
import random
import re
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from pystack_profiler.recording_file import BadRecordingFile, load
from pystack_profiler.recording_file.opening import opened

BUSY = """
import random
def f(depth): return (f, g)[random.random() < 0.5](depth - 1) if depth else sum(range(200))
def g(depth): return (g, f)[random.random() < 0.5](depth - 1) if depth else sum(range(300))
while True: f(random.randrange(14))
"""
_CALLS = "openat,write,pwrite64,ftruncate,fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,rmdir"
_NAME = "x.pystack"
_LINE = re.compile(r"(\d+) (\d+\.\d+) (\w+)\((.*)\) += (-?\d+)")
_UNFINISHED, _RESUMED = (
    " <unfinished ...>",
    re.compile(r"(\d+) (\d+\.\d+) <\.\.\. \w+ resumed>(.*)"),
)


@dataclass(frozen=True)
class Write:
    at: int
    data: bytes


@dataclass(frozen=True)
class Resize:
    size: int


@dataclass(frozen=True)
class Sync:
    """All before it is on the disk."""


@dataclass
class File:
    """What happened to it: the number of the step, and what."""

    steps: list[tuple[int, Write | Resize | Sync]] = field(default_factory=list)
    written: int = 0  # by calls without a place


@dataclass
class Folder:
    """The names in it after each step; None: an fsync of the folder."""

    steps: list[tuple[int, tuple[str, File | None] | None]] = field(default_factory=list)


class Trace:
    """The steps below a folder, in order."""

    def __init__(self, text: str, below: Path) -> None:
        self.times_s: list[float] = []
        self.folders: dict[str, Folder] = {}
        self.files: list[File] = []
        self._below = str(below)
        self._named: dict[str, File] = {}  # by its path, or as strace calls a file without a name
        self._descriptors: dict[str, File] = {}
        begun: dict[str, str] = {}
        for line in text.splitlines():
            if line.endswith(_UNFINISHED):
                begun[line.split(" ", 1)[0]] = line.removesuffix(_UNFINISHED)
                continue
            if resumed := _RESUMED.match(line):
                line = begun.pop(resumed[1]) + resumed[3]
            if call := _LINE.match(line):
                self._take(float(call[2]), call[3], call[4], line)

    def _take(self, time_s: float, call: str, arguments: str, line: str) -> None:
        if line.rsplit(" = ", 1)[1].startswith("-"):
            return
        before = len(self.times_s)
        texts = [
            bytes.fromhex(text.replace("\\x", "")) for text in re.findall(r'"([^"]*)"', arguments)
        ]
        opened_files = [_path(text) for text in re.findall(r"<([^>]*)>", arguments)]
        if call == "openat":
            self._open(line)
        elif call in ("write", "pwrite64", "ftruncate", "fsync", "fdatasync"):
            file = self._named.get(opened_files[0]) if opened_files else None
            if file is not None:
                self._change(file, call, arguments, texts)
            elif opened_files and opened_files[0] in self.folders:
                self._in(opened_files[0], None)
        elif call.startswith(("rename", "link", "unlink", "rmdir", "mkdir")):
            self._name(call, texts, opened_files)
        self.times_s += [time_s] * (self._count - before)

    _count = 0

    def _next(self) -> int:
        self._count += 1
        return self._count - 1

    def _open(self, line: str) -> None:
        match = re.search(r"= (\d+)<([^>]*)>", line)
        path = _path(match[2]) if match else ""
        has_no_name = "O_TMPFILE" in line
        is_made = has_no_name or "O_CREAT" in line
        if match is None or not is_made or not path.startswith(self._below):
            return
        if has_no_name or path not in self._named:
            self._named[path] = File()
            self.files.append(self._named[path])
            if not has_no_name:
                self._in(*_entry(path, self._named[path]))
        self._descriptors[match[1]] = self._named[path]

    def _in(self, folder: str, entry: tuple[str, File | None] | None) -> None:
        self.folders.setdefault(folder, Folder()).steps.append((self._next(), entry))

    def _change(self, file: File, call: str, arguments: str, texts: list[bytes]) -> None:
        step: Write | Resize | Sync
        last = int(arguments.rsplit(", ", 1)[1]) if ", " in arguments else 0
        if call == "write":
            step = Write(file.written, texts[0])
            file.written += len(texts[0])
        elif call == "pwrite64":
            step = Write(last, texts[0])
        elif call == "ftruncate":
            step = Resize(last)
        else:
            step = Sync()
        file.steps.append((self._next(), step))

    def _name(self, call: str, texts: list[bytes], folders: list[str]) -> None:
        names = [text.decode() for text in texts]
        paths = [
            name if name.startswith("/") else f"{folder}/{name}"
            for name, folder in zip(names, folders or [""] * len(names), strict=False)
        ]
        if len(paths) == 2 and paths[0].startswith("/proc/self/fd/"):
            file = self._descriptors[paths[0].rpartition("/")[2]]
        else:
            if not paths or not paths[0].startswith(self._below):
                return
            file = self._named.get(paths[0], File())
        if call.startswith(("rename", "unlink")):
            self._named.pop(paths[0], None)
            self._in(*_entry(paths[0], None))
        if len(paths) == 2:
            self._named[paths[1]] = file
            self._in(*_entry(paths[1], file))
        elif call.startswith("mkdir"):
            self._in(*_entry(paths[0], File()))


def _path(text: str) -> str:
    """As strace has it after a descriptor."""
    return bytes.fromhex(text.replace("\\x", "")).decode()


def _entry(path: str, file: File | None) -> tuple[str, tuple[str, File | None]]:
    folder, _, name = path.rpartition("/")
    return folder, (name, file)


class Disk:
    """The files of a trace as a power cut after `step` steps leaves them."""

    def __init__(self, trace: Trace, step: int, chance: random.Random | None) -> None:
        """Without `chance`: as if all was written."""
        self._step = step
        self._chance = chance
        self._block = 4096 if chance is None else chance.choice([512, 4096])
        self._share = 1.0 if chance is None else chance.choice([0.0, 0.1, 0.5, 0.9, 1.0])
        self.entries = {
            f"{path}/{name}": self._content(file)
            for path, folder in trace.folders.items()
            for name, file in self._names(folder).items()
            if file.steps
        }

    def _happened(self) -> bool:
        return self._chance is None or self._chance.random() < self._share

    def _names(self, folder: Folder) -> dict[str, File]:
        steps = [entry for number, entry in folder.steps if number < self._step]
        synced = max((place for place, entry in enumerate(steps) if entry is None), default=0)
        if self._chance is not None:  # Names change in order.
            del steps[self._chance.randint(synced, len(steps)) :]
        names: dict[str, File] = {}
        for name, file in filter(None, steps):
            names.pop(name, None)
            if file is not None:
                names[name] = file
        return names

    def _content(self, file: File) -> bytes:
        steps = [what for number, what in file.steps if number < self._step]
        synced = max(
            (place for place, what in enumerate(steps) if isinstance(what, Sync)), default=0
        )
        content = bytearray()
        for place, what in enumerate(steps):
            is_sure = place < synced
            if isinstance(what, Resize) and (is_sure or self._happened()):
                del content[what.size :]
                content.extend(bytes(what.size - len(content)))
            elif isinstance(what, Write):
                for begin, data in self._blocks(what):
                    if is_sure or self._happened():
                        content.extend(bytes(max(0, begin - len(content))))
                        content[begin : begin + len(data)] = data
        return bytes(content)

    def _blocks(self, write: Write) -> list[tuple[int, bytes]]:
        blocks, at, end = [], write.at, write.at + len(write.data)
        while at < end:
            following = min(end, (at // self._block + 1) * self._block)
            blocks.append((at, write.data[at - write.at : following - write.at]))
            at = following
        return blocks


class Seen:
    """What a reader finds on a disk."""

    def __init__(self, disk: Disk, folder: Path) -> None:
        self.samples: int | None = None  # None: there is no file
        self.last_s = 0.0  # Unix time of the last sample
        for name, content in disk.entries.items():
            if name.endswith(("-journal", _NAME)):
                (folder / name.replace("/", "%")).write_bytes(content)
        found = [path for path in folder.iterdir() if path.name.endswith(_NAME)]
        # At its place, or still where it grew.
        found.sort(key=lambda path: path.name.count("%"))
        for path in found:
            try:
                load(str(path))
            except BadRecordingFile:
                if path is found[-1]:
                    raise
                continue
            with opened(str(path)) as connection:
                (samples, end_ns), (begin_ns,) = (
                    connection.execute(query).fetchone()
                    for query in (
                        "SELECT count(*), max(end_ns) FROM sample",
                        "SELECT value FROM metadata WHERE name = 'start_time_ns' UNION SELECT 0 ORDER BY 1 DESC",
                    )
                )
            self.samples = samples
            self.last_s = (int(begin_ns) + end_ns) / 1e9 if end_ns else 0.0
            return


def seen(trace: Trace, step: int, chance: random.Random | None) -> Seen:
    with tempfile.TemporaryDirectory() as folder:
        return Seen(Disk(trace, step, chance), Path(folder))


def commits(trace: Trace) -> list[tuple[int, int]]:
    """The steps after which a transaction was on the disk, and the samples there then."""
    ends = []
    for file in trace.files:
        for (_, before), (step, what) in zip(file.steps, file.steps[1:], strict=False):
            if isinstance(what, Sync) and before == Resize(0):
                ends.append(step + 1)
    return [(step, seen(trace, step, None).samples or 0) for step in sorted(ends)]


def record(folder: Path, seconds: float, rate_hz: float) -> str:
    """What strace says of a recorder that writes into the folder."""
    trace = folder / "trace"
    with subprocess.Popen([sys.executable, "-c", BUSY]) as target:
        try:
            command = [
                "strace",
                "-f",
                "-ttt",
                "-y",
                "-xx",
                "-s",
                "99999999",
                "-e",
                f"trace={_CALLS}",
            ]
            command += [
                "-o",
                str(trace),
                sys.executable,
                "-m",
                "pystack",
                "record",
                "-r",
                str(rate_hz),
            ]
            command += ["-d", str(seconds), "-o", str(folder / "out" / _NAME), str(target.pid)]
            subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        finally:
            target.kill()
    return trace.read_text("ascii")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--disks", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rate", type=float, default=1000)
    parser.add_argument("--folder", type=Path, default=Path.cwd())
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--shared", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder.resolve()) as folder:
        out = Path(folder, "out")
        out.mkdir()
        if options.shared:
            out.chmod(0o1777)
        trace = Trace(record(Path(folder), options.seconds, options.rate), out)
    steps = len(trace.times_s)
    committed = [(0, 0), *commits(trace)]
    print(f"{steps} steps, {len(committed) - 1} transactions, {committed[-1][1]} rows of samples")
    chance = random.Random(options.seed)
    found: Counter[str] = Counter()
    is_sound = True
    missing_s = []
    for _ in range(options.disks):
        # The first and the last steps are rare ones.
        ends = [(1, steps), (1, 60), (steps - 60, steps), (steps - 5, steps)]
        first, last = (min(max(1, end), steps) for end in chance.choice(ends))
        step = chance.randint(first, last)
        sure = max(samples for end, samples in committed if end <= step)
        try:
            one = seen(trace, step, chance)
        except BadRecordingFile as error:
            found[f"UNREADABLE: {str(error)[-60:]}"] += 1
            is_sound = False
            continue
        if (one.samples or 0) < sure:
            found["LOST samples of completed transactions"] += 1
            is_sound = False
        elif one.samples is None:
            found["no file yet"] += 1
        else:
            found["read, with all of the completed transactions"] += 1
            if one.last_s:
                missing_s.append(trace.times_s[step - 1] - one.last_s)
    for words, count in found.most_common():
        print(f"{count:6} disks: {words}")
    missing_s.sort()
    print(
        f"time between the last sample and the cut: median {statistics.median(missing_s):.2f} s, at most"
        f" {missing_s[-1]:.2f} s"
    )
    sys.exit(not is_sound)


if __name__ == "__main__":
    main()
