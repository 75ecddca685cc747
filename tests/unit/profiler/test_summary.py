from __future__ import annotations

from profiler_fakes import MS, BatchWriter, Frame, recording_of
from pystack.sampling import SampleState
from pystack_profiler.profile import Recording
from pystack_profiler.summary import account, details, findings
from pystack_profiler.view import View

HOLDS = SampleState.GIL_KNOWN | SampleState.HOLDS_GIL
WAITS = SampleState.GIL_KNOWN | SampleState.WAITS_FOR_GIL


def a_second(state: int = 0) -> BatchWriter:
    writer = BatchWriter()
    thread = writer.thread(100)
    for tick in range(1, 101):
        writer.sample(thread, tick * 10 * MS, 10 * MS, [Frame("f")], state)
    return writer


def contended() -> Recording:
    """Two threads take turns, 3 : 1; a third waits all the time."""
    writer = BatchWriter()
    threads = [
        writer.thread(101, "greedy"),
        writer.thread(102, "modest"),
        writer.thread(103, "poor"),
    ]
    for tick in range(1, 101):
        holder = threads[0] if tick % 4 else threads[1]
        for thread in threads:
            frames = [Frame("main"), Frame("crunch" if thread == holder else "wait", first_line=7)]
            writer.sample(
                thread, tick * 10 * MS, 10 * MS, frames, HOLDS if thread == holder else WAITS
            )
    return recording_of(writer, start_ns=1, end_ns=1000 * MS)


def test_the_last_line() -> None:
    recording = recording_of(
        a_second(), ticks=99, elapsed_ns=1000 * MS, attempted=100, taken=99, torn=1
    )
    recording.tool_cpu_ns = 4 * MS
    assert account(recording) == [
        "100 samples of 1 thread over 1.0 s at 99 Hz (requested 100 Hz); lost 1: 1 torn;"
        " coverage 99 %; tool CPU 4 ms (0.4 %)"
    ]
    two = recording_of(a_second(), a_second())
    assert account(two)[0].startswith("200 samples of 2 threads in 2 processes over 1.0 s")


def test_pauses_have_a_line() -> None:
    stops = [0] * 22
    stops[5], stops[7] = 3, 1
    recording = recording_of(
        a_second(),
        elapsed_ns=1000 * MS,
        stop_ns_total=2 * MS,
        stop_ns_max=100_000,
        stopped=4,
        stops=stops,
    )
    assert account(recording)[1:] == [
        "pauses: 0.2 % of the time: half within 32 us, 99 % within 0.1 ms, at most 0.1 ms, for 4 samples"
        " whose stacks changed too fast to be read otherwise (--no-block: never stop)"
    ]
    recording.stops_target = True
    assert account(recording)[1:] == [
        "pauses: 0.2 % of the time, one thread at a time: half within 32 us, 99 % within 0.1 ms, at most"
        " 0.1 ms"
    ]


def test_a_guessed_order_of_interpreters_has_a_line() -> None:
    recording = recording_of(a_second(), guessed_order=3)
    assert account(recording)[-1] == (
        "which interpreter called which is a guess in 3 samples of nested interpreters"
    )


def test_time_that_was_not_sampled_is_told() -> None:
    recording = recording_of(
        a_second(), ticks=75, elapsed_ns=1000 * MS, attempted=75, taken=75, not_sampled_ns=250 * MS
    )
    assert "; none lost; not sampled 250 ms (25 % of the time); " in account(recording)[0]
    assert findings(recording) == [
        "Warning: not sampled: 250 ms (25 % of the time), because the recorder had no CPU, a sample took"
        " too long, or the process ran no Python"
    ]


def test_no_more_time_was_not_sampled_than_there_was() -> None:
    """A program without a single sample ended before the interval of the first look did."""
    recording = recording_of(
        a_second(), ticks=1, elapsed_ns=7 * MS, attempted=0, taken=0, not_sampled_ns=10 * MS
    )
    assert "; not sampled 7 ms (100 % of the time); " in account(recording)[0]


def test_a_starved_target_is_a_finding() -> None:
    writer = BatchWriter()
    known = SampleState.CPU_KNOWN | SampleState.ON_CPU
    writer.sample(
        writer.thread(100),
        100 * MS,
        100 * MS,
        [Frame("f")],
        known,
        cpu_ns=30 * MS,
        runnable_ns=70 * MS,
    )
    assert findings(recording_of(writer)) == [
        "Warning: threads waited 70 ms for a CPU and ran for 30 ms: the machine is busy, or the CPU limit"
        " of the container is too low (--mode runnable shows where)"
    ]


def test_an_empty_recording_has_a_last_line() -> None:
    for recording in (recording_of(BatchWriter()), Recording(pid=1)):
        (line,) = account(recording)
        assert line.startswith("0 samples of 0 threads over 0 ms")
    assert findings(Recording(pid=1), View("gil")) == []
    assert findings(Recording(pid=1, python_children=1)) == [
        "1 child process runs Python, too: -s records it"
    ]
    assert findings(Recording(pid=1, python_children=3)) == [
        "3 child processes run Python, too: -s records them"
    ]
    assert findings(Recording(pid=1, left_out_processes=3)) == [
        "Warning: 3 processes were not recorded (limit: --max-processes)"
    ]


def test_who_held_the_gil_and_who_waited() -> None:
    assert findings(contended()) == [
        "GIL: held 100 % of the time; 3 threads waited 2.0 s for it",
        '  100/101 "greedy": held 750 ms (75 %), waited 250 ms (25 %), without the GIL 0 ms (0 %);'
        " others waited 1.5 s for it",
        '  100/102 "modest": held 250 ms (25 %), waited 750 ms (75 %), without the GIL 0 ms (0 %);'
        " others waited 500 ms for it",
        '  100/103 "poor": held 0 ms (0 %), waited 1.0 s (100 %), without the GIL 0 ms (0 %)',
        '  longest waited for: crunch (/srv/app.py:7), in 100/101 "greedy", 1.5 s',
    ]


def test_a_gil_that_nobody_waits_for_is_one_line() -> None:
    recording = recording_of(a_second(HOLDS), start_ns=1, end_ns=2000 * MS)
    assert findings(recording) == ["GIL: held 50 % of the time; threads waited 0 ms for it"]


def test_garbage_collection_is_told() -> None:
    recording = recording_of(a_second(SampleState.GC), start_ns=1, end_ns=2000 * MS)
    assert findings(recording) == ["garbage collection: 1.0 s (50 % of the time)"]


def test_a_lowered_rate_is_told() -> None:
    recording = recording_of(
        a_second(), ticks=2000, missed=8000, throttled=7000, elapsed_ns=1_000_000_000
    )
    recording.max_cpu_share = 0.2
    assert findings(recording) == [
        "Warning: rate lowered to 2 kHz, because sampling may use at most 20 % of a CPU (--max-cpu)"
    ]
    recording = recording_of(
        a_second(), ticks=2000, missed=8000, pause_limited=7000, elapsed_ns=1_000_000_000
    )
    recording.max_pause_share = 0.05
    assert findings(recording) == [
        "Warning: rate lowered to 2 kHz, because threads may stand still for samples for at most 5 % of"
        " the time (--max-pause-share)"
    ]
    assert findings(recording_of(a_second(), ticks=2000, missed=8000)) == []


def test_a_mode_that_was_not_measured_is_told() -> None:
    assert findings(recording_of(a_second()), View("cpu")) == [
        "Warning: mode cpu is empty: which threads ran could not be measured in this target"
    ]
    assert findings(recording_of(a_second(SampleState.CPU_KNOWN)), View("cpu")) == []


def test_details_name_threads_without_trusting_their_names() -> None:
    writer = BatchWriter()
    writer.sample(writer.thread(7, "evil\x1b[31m"), MS, MS, [Frame("f")])
    text = "\n".join(details(recording_of(writer)))
    assert 'thread 100/7 "evil\\x1b[31m": 1 sample,' in text
    assert "\x1b" not in text


def test_child_processes_that_nobody_saw_are_a_finding() -> None:
    state = SampleState.CPU_KNOWN | SampleState.ON_CPU
    root, child = a_second(state), BatchWriter()
    child.sample(child.thread(200, pid=200), 300 * MS, 300 * MS, [Frame("g")], state)
    recording = recording_of(root, child)
    ended = recording.profiles[1].process
    ended.pid, ended.end_reason = 200, "target_exited"
    assert not any("child processes" in line for line in findings(replace_dead(recording, 350)))
    recording.unseen_processes, recording.other_processes = 26, 1
    assert findings(replace_dead(recording, 1300))[0] == (
        "Warning: 1.0 s of CPU time of child processes that have ended is not in the recording"
        " (26 ended before they were seen and 1 are not Python)"
    )


def replace_dead(recording: Recording, dead_children_ms: int) -> Recording:
    recording.dead_children_ns = dead_children_ms * MS
    return recording
