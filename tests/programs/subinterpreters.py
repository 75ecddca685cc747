"""Threads that run in interpreters of their own.

Usage: subinterpreters.py TRUTH_FILE

Which module makes them differs by version; each is tried in the ways that it offers.
"""

import os
import sys

import _truth

try:
    import _interpreters
except ImportError:
    _interpreters = None
try:
    import _xxsubinterpreters
except ImportError:
    _xxsubinterpreters = None
try:
    import _testcapi
except ImportError:
    _testcapi = None

SCRIPT = """
import sys
sys.path[:0] = [{folder!r}]
import os
import _truth

class Läufer:
    def run(self):
        return [self.block() for _ in (1,)]

    def block(self):
        os.read(_truth.tell_own({path!r}, {scene!r}, {interpreter_id!r}, {state_of_maker!r}), 1)
        os._exit(0)

def outer():
    Läufer().run()

{start}
"""

CALL = "outer()"
# Two threads in one interpreter.
WITH_THREAD = """
import threading
thread = threading.Thread(target=outer, name="thread of a subinterpreter")
thread.start()
os.read(_truth.tell_own({path!r}, {scene!r}, {interpreter_id!r}, {state_of_maker!r}), 1)
"""


def script(stage, scene, interpreter_id, start=CALL, state_of_maker=False):
    path = "{}.{}".format(stage.path, len(stage.parts))
    stage.parts.append(path)
    facts = {"scene": scene, "interpreter_id": interpreter_id, "state_of_maker": state_of_maker}
    if start is WITH_THREAD:
        # The new thread tells into `path`, and has a state of its own; the first one tells into a
        # file of its own.
        stage.parts.append(path + "-first")
        stage.count()
        first = dict(facts, path=path + "-first", scene=scene + " (first thread)")
        start = WITH_THREAD.format(**first)
        facts["state_of_maker"] = False
    folder = os.path.dirname(os.path.abspath(__file__))
    return SCRIPT.format(folder=folder, start=start, path=path, **facts)


def play_interpreters(stage):
    def play(scene, config, start=CALL):
        interpreter_id = _interpreters.create(config)
        source = script(stage, scene, interpreter_id, start)
        stage.play(lambda gate: run(interpreter_id, source), name=scene)

    def run(interpreter_id, source):
        failed = _interpreters.exec(interpreter_id, source)
        raise RuntimeError(failed)

    play("isolated", "isolated")
    play("isolated again", "isolated")
    play("legacy", "legacy")
    play("isolated with a thread", "isolated", WITH_THREAD)


def play_xxsubinterpreters(stage):
    def play(scene, start=CALL, **options):
        interpreter_id = _xxsubinterpreters.create(**options)
        source = script(stage, scene, int(interpreter_id), start, state_of_maker=True)
        stage.play(lambda gate: _xxsubinterpreters.run_string(interpreter_id, source), name=scene)

    play("default")
    play("default again")
    if sys.version_info >= (3, 9):
        play("not isolated, with a thread", WITH_THREAD, isolated=False)
    else:
        play("with a thread", WITH_THREAD)


def play_testcapi(stage):
    # The id is not to be had from inside.
    for scene in ("first", "second"):
        source = script(stage, scene, None)
        stage.play(lambda gate, source=source: _testcapi.run_in_subinterp(source), name=scene)


def main():
    stage = _truth.Stage(sys.argv[1])
    if _interpreters is not None:
        play_interpreters(stage)
    elif _xxsubinterpreters is not None:
        play_xxsubinterpreters(stage)
    elif _testcapi is not None:
        play_testcapi(stage)
    else:
        stage.skipped["subinterpreters"] = "no module for them"
    stage.play(lambda gate: gate.wait(), name="in the main interpreter")
    stage.tell()
    stage.gate.wait()


if __name__ == "__main__":
    main()
