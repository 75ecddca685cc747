"""`pystack dump --watch`: several dumps, of which the last is shown with what did not move."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from pystack.cli.declare import UsageProblem, WholeNumber, option, option_group
from pystack.cli.quantities import seconds
from pystack.cli.screen import StatusLine, print_status
from pystack.errors import PystackError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple

    from pystack.model import Snapshot
    from pystack.progress import ProgressWatch
else:
    from pystack.named_tuple import NamedTuple

_ROUNDS = 6
_EVERY_S = 1.0
_MAX_ROUNDS = 10_000


class WatchPlan(NamedTuple):
    """When to dump."""

    rounds: int
    every_s: float


def watch_plan(watch: float | None, rounds: int | None, every: float | None) -> WatchPlan | None:
    """Makes the plan from the options; None if one dump is wanted."""
    if watch is None and rounds is None:
        if every is not None:
            raise UsageProblem("--every needs --watch or --rounds.")
        return None
    if watch is None or rounds is not None:
        if None not in (watch, rounds, every):
            raise UsageProblem("--watch, --rounds and --every: two of them are enough.")
        rounds = rounds or _ROUNDS
        pauses = rounds - 1
        return WatchPlan(rounds, watch / pauses if watch is not None else every or _EVERY_S)
    if every is None:
        return WatchPlan(_ROUNDS, watch / (_ROUNDS - 1))
    return WatchPlan(min(max(round(watch / every), 1), _MAX_ROUNDS - 1) + 1, every)


watch_options = option_group(
    "plan",
    watch_plan,
    (
        option(
            "--watch",
            type=seconds,
            metavar="TIME",
            help="Dump several times within this time, and say which threads and asyncio tasks did"
            f" not move. Shows the last dump. Default: {_ROUNDS} dumps.",
        ),
        option(
            "--rounds",
            type=WholeNumber(2, _MAX_ROUNDS),
            metavar="N",
            help="Watch: the number of dumps.",
        ),
        option(
            "--every",
            type=seconds,
            metavar="TIME",
            help="Watch: the time between two dumps. Default: 1s, or so that they fill the time.",
        ),
    ),
)


class Watching:
    """Watches several processes at the same times."""

    def __init__(
        self, plan: WatchPlan, pids: Iterable[int], dump: Callable[[int], Snapshot]
    ) -> None:
        from functools import partial

        from pystack.progress import ProgressWatch

        self._plan = plan
        self._watches: dict[int, ProgressWatch] = {
            pid: ProgressWatch(partial(dump, pid)) for pid in pids
        }

    def look_until_last(self, verbosity: int) -> None:
        """Makes all dumps but the last. Ctrl-C ends it early."""
        status = StatusLine()
        try:
            for number in range(1, self._plan.rounds):
                for watch in self._watches.values():
                    # The last one says why.
                    with suppress(PystackError):
                        watch.look()
                progress = f"dump {number} of {self._plan.rounds}"
                if verbosity:
                    print_status(progress)
                status.show(f"watching: {progress} (Ctrl-C shows what is known)", progress)
                time.sleep(self._plan.every_s)
        except KeyboardInterrupt:
            pass
        finally:
            status.wipe()

    def look(self, pid: int) -> Snapshot:
        """The last dump of a process."""
        return self._watches[pid].look()
