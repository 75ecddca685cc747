"""Mappings of which there are too many, or whose files have endless names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from security.attackers import attack, attacker_folder, needs_root
from security.meter import MOST_MEMORY, measured, seconds_to_end

pytestmark = needs_root

#: The kernel prints a path of 80,000 characters whole, and no one can open it.
_DEPTH = 400
_COUNT = 10_000
#: In MiB. Of these names 512 MiB and more were read, and kept.
_MODEST_MEMORY = 120
_AT_ONCE_S = 3.0

#: argv: how deep, how many mappings of the file down there.
_DEEP_FILE = """
import ctypes, os, sys, time
depth, count = int(sys.argv[1]), int(sys.argv[2])
for i in range(depth):
    os.mkdir("d" * 200)
    os.chdir("d" * 200)
with open("f", "wb") as file: file.write(bytes(8192))
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
fd = os.open("f", os.O_RDONLY)
for i in range(count): libc.mmap(None, 4096, 1, 2, fd, 0 if i % 2 else 4096)
print("ready", flush=True)
while True: time.sleep(0.001)
"""

#: argv: how many libraries. Each is a file of its own, mapped as code.
_MANY_LIBRARIES = """
import ctypes, os, sys, time
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
path = next(line.split()[5] for line in open("/proc/self/maps") if "libc.so" in line)
with open(os.path.join(os.path.dirname(path), "libdl.so.2"), "rb") as file: data = file.read()
for i in range(int(sys.argv[1])):
    with open(f"lib{i}.so", "wb") as file: file.write(data)
    fd = os.open(f"lib{i}.so", os.O_RDONLY)
    libc.mmap(None, 16384, 5, 2, fd, 0)
    os.close(fd)
print("ready", flush=True)
while True: time.sleep(0.001)
"""


@pytest.mark.parametrize("options", [(), ("--native",)])
def test_a_dump_of_endless_names(options: tuple[str, ...]) -> None:
    with attacker_folder() as folder, attack(folder, _DEEP_FILE, _DEPTH, _COUNT) as process:
        run = measured("dump", "--json", *options, process.pid)
    assert run.status == 0, run.stderr
    snapshot = json.loads(run.stdout)
    frames = snapshot["threads"][0]["frames"]
    assert "<module>" in [frame.get("function") for frame in frames]
    assert any("too long names of mapped files" in one for one in snapshot["problems"])
    assert run.peak_mib < _MODEST_MEMORY


@pytest.mark.parametrize("options", [(), ("--native",)])
def test_a_recording_does_not_read_the_maps_all_the_time(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    out = tmp_path / "out.json"
    with attacker_folder() as folder, attack(folder, _DEEP_FILE, _DEPTH, _COUNT) as process:
        run = measured("record", *options, "--duration", 10, "-o", out, process.pid)
    assert run.status == 0, run.stderr
    assert "mapped files were left out" in run.stderr
    assert run.peak_mib < _MODEST_MEMORY
    # One pass over the mappings ends after 128 MiB. The beginning takes up to 7, and then few follow, the
    # more the faster the machine is: 2 or 3 where there would be 10 without the pauses.
    assert run.read_mib < 14 * 128


def test_a_dump_of_endless_names_ends_at_a_signal() -> None:
    with attacker_folder() as folder, attack(folder, _DEEP_FILE, _DEPTH, 30_000) as process:
        seconds = seconds_to_end(
            "dump",
            "--native",
            process.pid,
            has_begun=lambda pid: len(list(Path(f"/proc/{pid}/task").iterdir())) > 1,
        )
        assert seconds < _AT_ONCE_S


def test_many_libraries_are_charged() -> None:
    with attacker_folder() as folder, attack(folder, _MANY_LIBRARIES, 15_000) as process:
        run = measured("dump", "--json", "--native", process.pid)
    assert run.status == 0, run.stderr
    snapshot = json.loads(run.stdout)
    assert any("too many mapped files" in one for one in snapshot["problems"])
    assert run.peak_mib < MOST_MEMORY
