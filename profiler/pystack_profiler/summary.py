"""The summary at the end of a recording: GIL and garbage collection, losses, overhead."""

from __future__ import annotations

from pystack.render.escape import escape

from .aggregate import ThreadTotal, blamed_stacks, thread_totals
from .grouping import FrameLabel, Grouping
from .naming import process_title
from .profile import Profile, Recording
from .stats import (
    achieved_rate_hz,
    coverage,
    format_rate,
    format_share,
    format_time,
    losses,
    not_sampled_ns,
    pauses,
    plural,
)
from .task_coverage import task_coverage
from .track import ThreadIdentity, Track
from .view import DEFAULT_VIEW, View, was_measured
from .waits import LOCKS, wait_totals, waits_for_locks

_NOTEWORTHY = 0.01  # of the time; less is not reported by default
_WORTH_A_WORD = 0.0005  # of the time; less is not on the last line
_UNEXPLAINED = 0.1  # of the waiting time; less is not reported
_UNSEEN_NS = (
    100_000_000  # of child processes; less is not reported, because the kernel counts in 10 ms
)
_STARVED = 0.1  # waiting for CPUs, in proportion to running; less is not reported
_THREADS_SHOWN = 5


def account(recording: Recording) -> list[str]:
    """The last lines: samples, rate, losses, overhead; then pauses and missing frames, if any."""
    threads = sum(len(profile.tracks) for profile in recording.profiles)
    samples = f"{plural(recording.sample_count, 'sample')} of {plural(threads, 'thread')}"
    if len(recording.profiles) > 1:
        samples += f" in {len(recording.profiles)} processes"
    stats = recording.stats
    rate = f"{format_rate(achieved_rate_hz(stats))} (requested {format_rate(recording.rate_hz)})"
    parts = [f"{samples} over {format_time(recording.duration_ns)} at {rate}"]
    covered = coverage(stats)
    parts.append(losses(stats))
    if not_sampled_ns(stats) >= _WORTH_A_WORD * stats["elapsed_ns"] > 0:
        parts.append(f"not sampled {_not_sampled(recording)}")
    if covered is not None:
        parts.append(f"coverage {format_share(covered, 1)}")
    cost_ns = recording.tool_cpu_ns
    parts.append(
        f"tool CPU {format_time(cost_ns)} ({format_share(cost_ns, recording.duration_ns)})"
    )
    lines = ["; ".join(parts)]
    if any(stats["stops"]):
        lines.append(f"pauses: {_pauses(recording)}")
    if stats["task_samples"] + stats["tasks_unproved"]:
        lines.append(_tasks(recording))
    if stats["partly_merged"]:
        lines.append(f"native frames missing in {plural(stats['partly_merged'], 'sample')}")
    if stats["guessed_order"]:
        guessed = plural(stats["guessed_order"], "sample")
        lines.append(
            f"which interpreter called which is a guess in {guessed} of nested interpreters"
        )
    left_out = recording.left_out_samples
    if left_out:
        lines.append(f"memory limit reached, frames left out in {plural(left_out, 'sample')}")
    return lines


def findings(
    recording: Recording,
    view: View = DEFAULT_VIEW,
    by_function: Grouping | None = None,
    totals: list[ThreadTotal] | None = None,
) -> list[str]:
    """What to know before opening the file: GIL, garbage collection, missing data. `by_function` as for
    `blamed_stacks`; `totals` are those of the threads, if they are known already."""
    lines: list[str] = []
    if view.mode == "tasks" and not recording.has_tasks:
        lines.append(
            "Warning: mode tasks is empty: no task of asyncio (Python 3.7 or later) or trio was sampled"
            " (`record --tasks` samples them)"
        )
    if recording.profiles and not was_measured(view.mode, recording.states):
        what = "which thread held the GIL" if view.mode == "gil" else "which threads ran"
        lines.append(
            f"Warning: mode {view.mode} is empty: {what} could not be measured in this target"
        )
    if recording.left_out_processes:
        left_out = plural(recording.left_out_processes, "process", "es")
        verb = "was" if recording.left_out_processes == 1 else "were"
        lines.append(f"Warning: {left_out} {verb} not recorded (limit: --max-processes)")
    if recording.python_children:
        children = plural(recording.python_children, "child process", "es")
        verb, them = ("runs", "it") if recording.python_children == 1 else ("run", "them")
        lines.append(f"{children} {verb} Python, too: -s records {them}")
    lines += [
        f"Warning: process {profile.process.pid} also runs {escape(other)}, whose threads and stacks are not"
        " recorded"
        for profile in recording.profiles
        for other in profile.process.other_interpreters
    ]
    if recording.stats["maps_left_out"]:
        lines.append(
            "Warning: mapped files were left out because of the memory limit: the process has too many"
            " mappings, or too long names of mapped files"
        )
    if not_sampled_ns(recording.stats) > _NOTEWORTHY * recording.stats["elapsed_ns"]:
        lines.append(
            f"Warning: not sampled: {_not_sampled(recording)}, because the recorder had no CPU, a sample took"
            " too long, or the process ran no Python"
        )
    totals = thread_totals(recording) if totals is None else totals
    unseen = _unseen_children(recording, totals)
    if unseen is not None:
        lines.append(unseen)
    waited = _waited_for_cpus(recording, totals)
    if waited is not None:
        lines.append(waited)
    lines += _gil(recording, totals, by_function)
    lines += _locks(recording)
    lines += throttling(recording)
    gc_ns = sum(total.gc_ns for total in totals)
    if gc_ns:
        share, base = format_share(gc_ns, _processes_ns(recording)), _base(recording)
        lines.append(f"garbage collection: {format_time(gc_ns)} ({share} {base})")
    return lines


def throttling(recording: Recording) -> list[str]:
    """Warnings if the rate was lowered to stay within the shares of CPU and pauses."""
    stats = recording.stats
    limits = (
        (
            stats["throttled"],
            f"sampling may use at most {format_share(recording.max_cpu_share, 1)} of a CPU (--max-cpu)",
        ),
        (
            stats["pause_limited"],
            "threads may stand still for samples for at most"
            f" {format_share(recording.max_pause_share, 1)} of the time (--max-pause-share)",
        ),
    )
    rate = format_rate(achieved_rate_hz(stats))
    worth_a_word = _NOTEWORTHY * (stats["ticks"] + stats["missed"])
    return [
        f"Warning: rate lowered to {rate}, because {limit}"
        for skipped, limit in limits
        if skipped > worth_a_word
    ]


def details(recording: Recording) -> list[str]:
    """All counters, and a line for each process and thread."""
    lines: list[str] = []
    several = len(recording.profiles) > 1
    for profile in recording.profiles:
        if several:
            lines.append(f"process {process_title(profile)}")
        lines += _process(profile)
    if recording.other_processes:
        lines.append(f"{plural(recording.other_processes, 'more process', 'es')}: not Python")
    if recording.unseen_processes:
        gone = plural(recording.unseen_processes, "more process", "es")
        lines.append(f"{gone}: exited before the first sample")
    cost = format_time(recording.stats["cpu_ns"])
    lines.append(f"CPU time: sampling {cost}, whole tool {format_time(recording.tool_cpu_ns)}")
    if recording.time_resolution_ns:
        resolution = format_time(recording.time_resolution_ns)
        lines.append(f"order of samples: exact to {resolution}; all sums are exact")
    lines += [_thread(total) for total in thread_totals(recording)]
    return lines


def _processes_ns(recording: Recording) -> int:
    """The sum of the times for which each process was recorded: the base of what processes do."""
    return sum(profile.end_ns - profile.start_ns for profile in recording.profiles)


def _base(recording: Recording) -> str:
    return "of the time" if len(recording.profiles) == 1 else "of the time of all processes"


def _pauses(recording: Recording) -> str:
    """How long threads stood still; `max_pause_share` limits the same share of the time."""
    stats = recording.stats
    share = f"{format_share(stats['stop_ns_total'], stats['elapsed_ns'])} {_base(recording)}"
    if recording.stops_target:
        return f"{share}, one thread at a time: {pauses(stats)}"
    return (
        f"{share}: {pauses(stats)}, for {plural(stats['stopped'], 'sample')} whose stacks changed too fast"
        " to be read otherwise (--no-block: never stop)"
    )


def _tasks(recording: Recording) -> str:
    stats = recording.stats
    tried = stats["task_samples"] + stats["tasks_unproved"] + stats["tasks_left_out"]
    line = f"tasks: {plural(stats['task_samples'], 'sample')}; coverage {format_share(task_coverage(recording), 1)}"
    for count, why in (
        (stats["tasks_unproved"], "lost because the task moved"),
        (stats["tasks_left_out"], "left out, because there were too many tasks"),
    ):
        if count:
            line += f"; {count:,} ({format_share(count, tried)}) {why}"
    return line


def _not_sampled(recording: Recording) -> str:
    time_ns = not_sampled_ns(recording.stats)
    share = format_share(time_ns, recording.stats["elapsed_ns"])
    return f"{format_time(time_ns)} ({share} {_base(recording)})"


def _unseen_children(recording: Recording, totals: list[ThreadTotal]) -> str | None:
    """A warning if child processes that ended had much more CPU time than was recorded of them."""
    ended = {
        profile.process.pid
        for profile in recording.profiles
        if profile.process.pid != recording.pid and profile.process.end_reason == "target_exited"
    }
    seen_ns = sum(total.on_cpu_ns or 0 for total in totals if total.identity.pid in ended)
    unseen_ns = recording.dead_children_ns - seen_ns
    all_ns = unseen_ns + sum(total.on_cpu_ns or 0 for total in totals)
    if unseen_ns <= _UNSEEN_NS or unseen_ns < _NOTEWORTHY * all_ns:
        return None
    counts = (
        (recording.unseen_processes, "ended before they were seen"),
        (recording.other_processes, "are not Python"),
    )
    who = " and ".join(f"{count:,} {what}" for count, what in counts if count)
    return (
        f"Warning: {format_time(unseen_ns)} of CPU time of child processes that have ended is not in the"
        f" recording{f' ({who})' if who else ''}"
    )


def _waited_for_cpus(recording: Recording, totals: list[ThreadTotal]) -> str | None:
    """A warning if threads were ready to run, but had no CPU."""
    waited_ns = sum(total.runnable_ns or 0 for total in totals)
    ran_ns = sum(total.on_cpu_ns or 0 for total in totals)
    if waited_ns <= _NOTEWORTHY * _processes_ns(recording) or waited_ns < _STARVED * ran_ns:
        return None
    return (
        f"Warning: threads waited {format_time(waited_ns)} for a CPU and ran for {format_time(ran_ns)}: the"
        " machine is busy, or the CPU limit of the container is too low (--mode runnable shows where)"
    )


def _locks(recording: Recording) -> list[str]:
    """Who was waited for longest because of a lock, if that took a noteworthy time."""
    if not any(map(waits_for_locks, recording.profiles)):
        return []
    waits = wait_totals(recording)
    locks = [one for one in waits.reasons if one.kind in LOCKS and one.kind != "gil"]
    waited_ns = sum(one.time_ns for one in locks)
    if waited_ns <= _NOTEWORTHY * _processes_ns(recording):
        return []
    threads = len(set[Track]().union(*(one.threads for one in locks)))
    line = f"locks: {plural(threads, 'thread')} waited {format_time(waited_ns)}"
    held = [one for one in waits.holders if one.kind in LOCKS]
    if held:
        longest = held[0]
        line += f"; longest for {longest.text}, held by {_who(longest.holder)} ({format_time(longest.time_ns)})"
    return [line]


def _gil(
    recording: Recording, totals: list[ThreadTotal], by_function: Grouping | None
) -> list[str]:
    if not was_measured("gil", recording.states):
        return []
    held_ns = sum(total.gil_held_ns or 0 for total in totals)
    waited_ns = sum(total.gil_wait_ns or 0 for total in totals)
    if not held_ns + waited_ns:
        return []  # idle, or a build without a GIL
    duration_ns = _processes_ns(recording)
    first = f"GIL: held {format_share(held_ns, duration_ns)} {_base(recording)}"
    if waited_ns < _NOTEWORTHY * duration_ns:
        return [f"{first}; threads waited {format_time(waited_ns)} for it"]
    waiting = [total for total in totals if total.gil_wait_ns]
    overview = f"{first}; {plural(len(waiting), 'thread')} waited {format_time(waited_ns)} for it"
    unexplained_ns = sum(profile.contention.unexplained_ns for profile in recording.profiles)
    if unexplained_ns > _UNEXPLAINED * waited_ns:
        overview += f" ({format_time(unexplained_ns)} of that with no holder observed)"
    lines = [overview]
    involved = [
        total
        for total in totals
        if (total.gil_held_ns or 0) + (total.gil_wait_ns or 0) > _NOTEWORTHY * total.seen_ns
    ]
    involved.sort(key=lambda total: -(total.gil_blamed_ns or 0))
    for total in involved[:_THREADS_SHOWN]:
        lines.append(f"  {_who(total.identity)}: {_gil_shares(total)}")
    if len(involved) > _THREADS_SHOWN:
        more = plural(len(involved) - _THREADS_SHOWN, "more thread")
        lines.append(f"  and {more} (-v lists all)")
    for blamed in blamed_stacks(recording, 1, by_function):
        place = _place(blamed.frames[-1]) if blamed.frames else "no Python code"
        lines.append(
            f"  longest waited for: {place}, in {_who(blamed.identity)},"
            f" {format_time(blamed.blamed_ns)}"
        )
    return lines


def _gil_shares(total: ThreadTotal) -> str:
    shares = [
        f"{verb} {format_time(time_ns)} ({format_share(time_ns, total.seen_ns)})"
        for verb, time_ns in (
            ("held", total.gil_held_ns),
            ("waited", total.gil_wait_ns),
            ("without the GIL", total.gil_without_ns),
        )
        if time_ns is not None
    ]
    text = ", ".join(shares)
    if total.gil_blamed_ns:
        text += f"; others waited {format_time(total.gil_blamed_ns)} for it"
    return text


def _process(profile: Profile) -> list[str]:
    process = profile.process
    lines = [f"CPython {process.python_version}, ended: {process.end_reason}"]
    lines.append(
        "thread samples: {attempted:,} attempted, {taken:,} taken, {torn:,} torn,"
        " {failed:,} failed, {vanished:,} vanished".format(**profile.stats)
    )
    lines.append(
        "ticks: {ticks:,} served, {late:,} late, {missed:,} missed ({throttled:,} of those for"
        " --max-cpu, {pause_limited:,} for --max-pause-share)".format(**profile.stats)
    )
    tables = profile.tables
    lines.append(
        f"tables: {len(tables.stack_parent):,} stacks, {len(tables.frame_function):,} frames,"
        f" {len(tables.strings):,} strings"
    )
    return lines


def _thread(total: ThreadTotal) -> str:
    facts = [plural(total.samples, "sample"), f"observed {format_time(total.seen_ns)}"]
    if total.on_cpu_ns is not None:
        facts.append(f"on CPU {format_share(total.on_cpu_ns, total.seen_ns)}")
    if total.runnable_ns:
        facts.append(f"waited for a CPU {format_share(total.runnable_ns, total.seen_ns)}")
    if total.gil_held_ns is not None:
        facts.append(f"GIL: {_gil_shares(total)}")
    if total.gc_ns:
        facts.append(f"collected garbage {format_share(total.gc_ns, total.seen_ns)}")
    return f"thread {_who(total.identity)}: {', '.join(facts)}"


def _who(identity: ThreadIdentity) -> str:
    name = f' "{escape(identity.name)}"' if identity.name else ""
    return f"{identity.pid}/{identity.tid}{name}"


def _place(label: FrameLabel) -> str:
    if not label.file:
        return label.name
    position = label.file if label.line is None else f"{label.file}:{label.line}"
    return f"{label.function} ({position})"
