"""callgrind's format, and what callgrind_annotate says of it (`python tools/viewers.py` fetches it)."""

from __future__ import annotations

import io
import re
import subprocess
from pathlib import Path

import pytest

import viewers
from profiler_fakes import MS, BatchWriter, Frame, recording_of
from pystack_profiler import function_totals
from pystack_profiler.exporters import CALLGRIND
from pystack_profiler.profile import Recording
from pystack_profiler.sinks import FileSink
from pystack_profiler.view import MODES, View
from random_recordings import random_recording


def recursive() -> Recording:
    """main calls fib on two lines, which calls itself."""
    writer = BatchWriter()
    main, fib = Frame("main", "/srv/app.py", 1, 3), Frame("fib", "/srv/fib.py", 5, 6)
    stacks = [[main, fib], [main, fib, fib, fib], [main._replace(line=4), fib], [main]]
    thread = writer.thread(1, "t")
    for second, stack in enumerate(stacks, 1):
        writer.sample(thread, second * 1000 * MS, 1000 * MS, stack, count=100)
    return recording_of(writer, start_ns=1, end_ns=4000 * MS, taken=400, attempted=400)


def test_calls_have_their_line_and_the_innermost_counts() -> None:
    stream = io.StringIO()
    CALLGRIND.export(recursive(), stream)
    head, *parts = stream.getvalue().split("\n\n")
    assert "events: wall samples" in head
    assert "desc: none lost" in head
    main, other, fib = (part.splitlines() for part in parts)
    assert fib == ["fl=/srv/fib.py", "fn=fib", "6 3000000000 300"]
    assert [main, other] == [
        [
            *("fl=/srv/app.py", "fn=main", "3 1000000000 100"),
            *("cfi=/srv/fib.py", "cfn=fib", "calls=200 5", "3 2000000000 200"),
        ],
        [
            *("fl=/srv/app.py", "fn=main"),
            *("cfi=/srv/fib.py", "cfn=fib", "calls=100 5", "4 1000000000 100"),
        ],
    ]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("mode", MODES)
def test_the_time_of_a_function_and_its_calls_is_its_total(seed: int, mode: str) -> None:
    """Whatever calls what, also in circles."""
    recording = random_recording(seed)
    stream = io.StringIO()
    CALLGRIND.export(recording, stream, View(mode))  # type: ignore[arg-type]
    sums: dict[str, int] = {}
    function = ""
    for line in stream.getvalue().splitlines():
        if line.startswith("events: "):
            assert line.split()[1] == mode  # the first is shown
        if line.startswith("fn="):
            function = line[3:]
        elif line[:1].isdigit():
            sums[function] = sums.get(function, 0) + int(line.split()[1])
    totals = function_totals(recording, View(mode))  # type: ignore[arg-type]
    known = {total.label.name: total.total_ns for total in totals}
    assert {name: time_ns for name, time_ns in sums.items() if time_ns} == known


@pytest.mark.parametrize("inclusive", [False, True])
def test_callgrind_annotate_has_the_same_table(inclusive: bool, tmp_path: Path) -> None:
    # It takes what callers say for the time of a function, which is less if it is also a root.
    recordings = (recursive(),) if inclusive else (recursive(), random_recording(4))
    for recording in recordings:
        path = tmp_path / "x.callgrind"
        FileSink(str(path), CALLGRIND).write(recording)
        flags = ["--threshold=100", "--show=wall", f"--inclusive={'yes' if inclusive else 'no'}"]
        command = [viewers.callgrind_annotate(), *flags, str(path)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        rows = re.findall(
            r"^ *([\d,]+) \([ \d.]+%\)  [^:]*:(.*?)(?: \[\])?$", done.stdout, re.MULTILINE
        )
        found = {name: int(cost.replace(",", "")) for cost, name in rows}
        totals = function_totals(recording, View())
        assert totals
        for total in totals:
            time_ns = total.total_ns if inclusive else total.self_ns
            if time_ns:
                assert found[total.label.name] == time_ns
