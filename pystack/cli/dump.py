"""`pystack dump PID...`: where every thread is now."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pystack import api
from pystack.cli.declare import Settings, UsageProblem, argument, command, option
from pystack.cli.locals_options import locals_options
from pystack.cli.native_options import native_options
from pystack.cli.options import exhaustive_flag, memory_option, priority_flag
from pystack.cli.output import Output, output_options, write_snapshot
from pystack.cli.quantities import pid as pid_type
from pystack.cli.screen import print_status, write_lines
from pystack.cli.watch import Watching, WatchPlan, watch_options
from pystack.errors import NoSuchProcess, NotPython, PystackError, TargetExited, UnsupportedTarget
from pystack.render.words import interpreter_title

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystack.locals_options import Locals
    from pystack.model import Snapshot
    from pystack.native_options import Native
    from pystack.render.source import SourceReader

Errors = tuple[type[PystackError], ...]

#: A child process with one of these errors has nothing to show.
_NOTHING_TO_SHOW: Errors = (NoSuchProcess, NotPython, TargetExited, UnsupportedTarget)
_ALL_REPORTED: Errors = ()


@command(
    "dump",
    argument("pids", type=pid_type, nargs=-1, metavar="PID..."),
    option(
        "-p", "--pid", "more_pids", type=pid_type, multiple=True, metavar="PID", help="Same as PID."
    ),
    option(
        "-s",
        "--subprocesses",
        is_flag=True,
        help="Also dump the child processes that run Python, and theirs.",
    ),
    option(
        "--no-block",
        "--nonblocking",
        "no_block",
        is_flag=True,
        help="Do not stop the process while it is read.",
    ),
    # py-spy has it; here, paths are never shortened.
    option("--full-filenames", is_flag=True, expose_value=False, hidden=True),
    priority_flag,
    exhaustive_flag,
    watch_options,
    output_options,
    native_options,
    locals_options,
    memory_option,
)
def dump(
    settings: Settings,
    /,
    pids: tuple[int, ...],
    more_pids: tuple[int, ...],
    subprocesses: bool,
    no_block: bool,
    no_priority: bool,
    exhaustive: bool,
    plan: WatchPlan | None,
    output: Output,
    native: Native | None,
    variables: Locals | None,
    max_memory: int | None,
) -> int:
    """Show where every Python thread of the process PID is.

    The process is paused while it is read, usually for less than a millisecond. Several processes
    are dumped one after another; the exit status is the first that is not 0.
    """
    asked = list(dict.fromkeys((*more_pids, *pids)))
    if not asked:
        raise UsageProblem("Missing argument 'PID'.")
    if no_block and native is not None:
        raise UsageProblem("--native cannot be used with --no-block: the process must be stopped.")
    shown: list[int] = []

    # One process is shown even if it is not Python's, as far as its native frames are wanted.
    is_only = len(asked) == 1 and not subprocesses

    def take(pid: int) -> Snapshot:
        return api.dump(
            pid,
            block=not no_block,
            exhaustive=exhaustive,
            tasks=output.wants_tasks,
            locals=variables,
            native=native,
            raise_priority=not no_priority,
            require_python=native is None or not is_only,
            max_memory=max_memory,
        )

    processes = _with_descendants(asked) if subprocesses else dict.fromkeys(asked, _ALL_REPORTED)
    watching = None if plan is None else Watching(plan, processes, take)

    def show(pid: int) -> int:
        # Before the process is read, because it may exit afterwards.
        sources = _sources_of(pid) if output.wants_sources else None
        snapshot = take(pid) if watching is None else watching.look(pid)
        if settings.verbosity:
            print_status(
                f"{snapshot.executable or 'executable unknown'},"
                f" {interpreter_title(snapshot)}, reads until consistent: {snapshot.attempts}"
            )
        if shown and not output.as_json:
            write_lines([""])
        shown.append(pid)
        write_snapshot(snapshot, output, settings, sources)
        return 0 if snapshot.interpreters else NotPython.exit_code

    if watching is not None:
        watching.look_until_last(settings.verbosity)
    if len(processes) > 1:
        return _show_all(processes, show, settings.verbosity)
    return show(asked[0])


def _with_descendants(roots: list[int]) -> dict[int, Errors]:
    """The processes to dump, and the errors of each that are not worth a message."""
    from pystack import process_facts

    processes: dict[int, Errors] = {}
    for root in roots:
        children = process_facts.descendants(root)
        # A shell that has started Python need not be Python.
        has_python = any(map(process_facts.is_named_python, children))
        processes[root] = (NotPython,) if has_python else _ALL_REPORTED
        for child in children:
            if child not in roots:
                processes.setdefault(child, _NOTHING_TO_SHOW)
    return processes


def _show_all(processes: Mapping[int, Errors], show: Callable[[int], int], verbosity: int) -> int:
    """Reports failures and goes on. Returns the first exit status that is not 0."""
    from pystack.cli.failures import report

    status = 0
    for pid, ignored in processes.items():
        try:
            own = show(pid)
        except ignored:
            continue
        except PystackError as error:
            report(error, verbosity)
            own = error.exit_code
        status = status or own
    return status


def _sources_of(pid: int) -> SourceReader:
    from pystack.render.source import SourceReader

    return SourceReader.of_process(pid)
