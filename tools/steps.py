"""Steps of the tools that make large things outside the checkout: commands with a log, finished folders.

Each result is built beside its final place and renamed into it, so a run that was cut short leaves nothing
that looks finished. A stamp in it says by which recipe it was made.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

STAMP_NAME = "provisioned.json"

OWN_NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")


class StepError(Exception):
    """A step failed; the message says which, and where its output is."""


class Steps:
    """Runs commands, their output going to a log file of which the end is shown if one fails.

    As root, each has its own namespaces of mounts and pids, so with it end its mounts and all it started,
    even if this program is interrupted.
    """

    def __init__(self, name: str, log: Path) -> None:
        self._name = name
        self._log = log
        log.write_text("")

    def say(self, text: str) -> None:
        print(f"{self._name}: {text}", file=sys.stderr, flush=True)

    def run(
        self,
        *command: str | Path,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        namespaces = OWN_NAMESPACES if os.geteuid() == 0 else ()
        argv = [*namespaces, *(str(word) for word in command)]
        fixed = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
        with self._log.open("a") as log:
            print("+", *command, file=log, flush=True)
            done = subprocess.run(
                argv,
                check=False,
                cwd=cwd,
                env={**os.environ, **fixed, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        if done.returncode != 0:
            tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-30:])
            raise StepError(
                f"{command[0]} ended with status {done.returncode}; the end of {self._log}:\n{tail}"
            )

    def lines(self, *command: str | Path) -> list[str]:
        """Runs a command and returns what it printed."""
        before = self._log.stat().st_size
        self.run(*command)
        with self._log.open("rb") as log:
            log.seek(before)
            _, *printed = log.read().decode(errors="replace").splitlines()
        return printed


def output(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def write_stamp(place: Path, recipe: object, **what: object) -> None:
    stamp = {"recipe": repr(recipe), **what}
    (place / STAMP_NAME).write_text(json.dumps(stamp, indent=1))


def is_current(place: Path, recipe: object) -> bool:
    """Whether `place` was finished, and by the same recipe."""
    try:
        stamp = json.loads((place / STAMP_NAME).read_text())
    except (OSError, ValueError):
        return False
    return bool(stamp["recipe"] == repr(recipe))


def remove_tree(path: Path) -> None:
    """Like `rm -rf`, but not through a mount: behind it could be the host's own files."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    inside = [mount for mount in mounts if Path(mount).is_relative_to(path)]
    if inside:
        raise StepError(f"not removing {path}: something is mounted at {inside[0]}")
    if path.exists():
        shutil.rmtree(path)


@contextlib.contextmanager
def workplace(path: Path) -> Iterator[Path]:
    """An empty folder that is gone afterwards, whether the work failed or renamed it."""
    remove_tree(path)
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        remove_tree(path)


def publish(made: Path, final: Path) -> None:
    """Put `made` where `final` is. Processes that run out of the old folder keep their files."""
    old = final.with_name(final.name + ".old")
    remove_tree(old)
    if final.exists():
        final.rename(old)
    made.rename(final)
    remove_tree(old)
