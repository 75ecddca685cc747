"""Titles of processes, threads and recordings. All results are escaped."""

from __future__ import annotations

import posixpath

from pystack.render.escape import escape, quote_command
from pystack.sampling import NO_INTERPRETER

from .profile import Profile, Recording
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
    """A command that is too long for a title goes without the folders of its paths first."""
    whole = quote_command(command)
    if len(whole) <= _LONGEST_TITLE:
        return whole
    names = [posixpath.basename(word) or word if word.startswith("/") else word for word in command]
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
    if "--multiprocessing-fork" in command:
        return "multiprocessing worker"
    if "python" in program:
        arguments = iter(command[1:])
        for argument in arguments:
            if argument == "-m":
                return escape(next(arguments, program))
            if argument == "-c":
                code = next(arguments, "")
                known = [name for start, name in _HELPERS.items() if code.startswith(start)]
                return known[0] if known else escape(f"{program} -c")
            if argument in ("-W", "-X"):
                next(arguments, None)
            elif not argument.startswith("-"):
                return escape(posixpath.basename(argument))
    return escape(program)


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
