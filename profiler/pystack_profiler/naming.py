"""Titles of processes, threads and recordings. All results are escaped."""

from __future__ import annotations

import posixpath

from pystack.render.escape import escape, quote_command
from pystack.sampling import NO_INTERPRETER

from .profile import Profile, Recording
from .python_command import told
from .track import ThreadIdentity

_LONGEST_TITLE = 80

#: What multiprocessing starts with -c besides its workers: the begin of the code, and a name.
_HELPERS = {
    "from multiprocessing.resource_tracker import": "resource tracker",
    "from multiprocessing.forkserver import": "multiprocessing forkserver",
}


def recording_title(recording: Recording) -> str:
    """`python app.py (pid 4711, CPython 3.13.5)`."""
    command = _brief(recording.command) or "process"
    facts = [f"pid {recording.pid}"]
    versions = {profile.process.python_version for profile in recording.profiles} - {""}
    facts += [f"CPython {escape(version)}" for version in sorted(versions)]
    if (others := len(recording.profiles) - 1) > 0:
        facts.append(f"{others} more process{'es' if others > 1 else ''}")
    return f"{command} ({', '.join(facts)})"


def _brief(command: tuple[str, ...]) -> str:
    """A command that is too long for a title goes without the folders of the program and of its script first."""
    whole = quote_command(command)
    if len(whole) <= _LONGEST_TITLE:
        return whole
    names = list(command)
    names[0] = posixpath.basename(names[0])
    if _is_python(command) and (place := told(command).place):
        names[place] = _script_name(names[place])
    return _shortened(quote_command(tuple(names)))


def process_title(profile: Profile) -> str:
    """`app.py 4711`."""
    return f"{process_name(profile.process.command)} {profile.process.pid}"


def process_name(command: tuple[str, ...]) -> str:
    """The script or module that a process runs, else its title or program."""
    if not command:
        return "process"
    if len(command) == 1 and " " in command[0]:
        return _shortened(escape(_title(command[0])))
    program = posixpath.basename(command[0])
    run = told(command) if _is_python(command) else None
    # Also a program that is frozen into one file starts its workers so.
    if (run is None or run.what == "code") and "--multiprocessing-fork" in command:
        return "multiprocessing worker"
    if run is None or run.what == "input":
        return escape(program)
    if run.what == "code":
        known = [name for start, name in _HELPERS.items() if run.text.startswith(start)]
        return known[0] if known else escape(f"{program} -c")
    return escape(run.text if run.what == "module" else _script_name(run.text))


def _is_python(command: tuple[str, ...]) -> bool:
    return "python" in posixpath.basename(command[0])


def _script_name(path: str) -> str:
    """Also of a folder: `app/`."""
    return posixpath.basename(path.rstrip("/")) or path


def _title(text: str) -> str:
    """A title that a process gave itself (setproctitle), without the folder of its program.

    Only a first word that is clearly a path is one: `a/b 7` may be anything.
    """
    program, _, rest = text.partition(" ")
    if program.startswith(("/", "./", "../")):
        program = posixpath.basename(program)
    return f"{program} {rest}"


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_TITLE else f"{text[: _LONGEST_TITLE - 1]}…"


def thread_title(identity: ThreadIdentity) -> str:
    """`MainThread 4711`, `4712 (interpreter 2)`, `worker 4713 (not a Python thread)`."""
    if identity.is_of_tasks:
        return f"tasks of {identity.tid}" if identity.tid else "tasks"
    number = str(identity.tid or identity.pid)
    title = f"{escape(identity.name)} {number}" if identity.name else number
    if identity.interpreter_id == NO_INTERPRETER:
        title += " (not a Python thread)"
    elif identity.interpreter_id:
        title += f" (interpreter {identity.interpreter_id})"
    return title
