"""Starts a program that tells the truth about its stacks, and waits until the truth holds."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from process_state import is_reading, thread_ids, wait_until
from targets import PROGRAMS, Interpreter, target_environment
from truth_compare import load_truth


@dataclass(frozen=True)
class TruthfulTarget:
    pid: int
    truth: dict[str, Any]

    def wait_for_barrier(self) -> None:
        """A thread that was stopped goes back into its system call when it is its turn."""
        wait_until(lambda: is_at_barrier(self.pid, self.truth), "the target at its barrier")


@contextlib.contextmanager
def truthful_target(
    interpreter: Interpreter,
    program: str,
    folder: Path,
    *,
    options: Sequence[str] = (),
    arguments: Sequence[str] = (),
    container: bool = False,
    **spawn: Any,
) -> Iterator[TruthfulTarget]:
    """A program of `programs/` at its barrier; `options` are the interpreter's.

    `folder` must be one that the target sees too: below the temporary folder.
    """
    path = folder / "truth.json"
    errors = folder / "stderr.txt"
    with (
        errors.open("wb") as stderr,
        interpreter.spawn(
            [*options, str(PROGRAMS / program), str(path), *arguments],
            container=container,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            **spawn,
        ) as target,
    ):
        truth = wait_for_truth(target.process, path, errors)
        # The process that tells may be a child of the one that was started, not so in a container.
        pid = target.pid if container else truth["pid"]
        running = TruthfulTarget(pid, truth)
        running.wait_for_barrier()
        yield running
        running.wait_for_barrier()


@contextlib.contextmanager
def truthful_process(
    command: Sequence[str], folder: Path, env: Mapping[str, str]
) -> Iterator[TruthfulTarget]:
    """The same for any command that becomes such a program and writes `truth.json` there."""
    errors = folder / "stderr.txt"
    with (
        errors.open("wb") as stderr,
        subprocess.Popen(
            command,
            env={**target_environment(), **env},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        ) as process,
    ):
        try:
            truth = wait_for_truth(process, folder / "truth.json", errors)
            running = TruthfulTarget(process.pid, truth)
            running.wait_for_barrier()
            yield running
            running.wait_for_barrier()
        finally:
            process.kill()


def wait_for_truth(process: subprocess.Popen[Any], path: Path, errors: Path) -> dict[str, Any]:
    def told() -> bool:
        assert process.poll() is None, f"{process.args!r} ended: {errors.read_text()}"
        return path.exists()

    wait_until(told, f"truth of {process.args!r}")
    return load_truth(path)


def is_at_barrier(pid: int, truth: dict[str, Any]) -> bool:
    """Whether the threads are as many as they shall be, each at its place."""
    _, gate_fd = truth["gate"]
    threads = thread_ids(pid)
    at_gate = sum(1 for tid in threads if is_reading(pid, tid, gate_fd))
    return (len(threads), at_gate) == (truth["task_count"], truth["at_gate"])
