"""Thread names, threads of unusual origin, and threads that block elsewhere than at the gate."""

import _thread
import os
import queue
import select
import sys
import threading
import time

from _truth import GATE_FD, scene, scene_with

NAMES = [
    "Worker-1",
    "Grüße",
    "計算-1",
    "эхо",
    "😀 smile",
    "𠀀",
    "é" * 3 + "計" + "😀",
    "",
    " ",
    'with "quotes" and \\',
    "new\nline \x1b[31mred \x00 nul",
    "long " * 1000,
    "長い" * 1000,
    "lone \udcff surrogate",
    "exactly 15 char",
    "sixteen chars ok",
    "\u202eright to left",
]


def waits(gate):
    gate.wait()


for index, name in enumerate(NAMES):
    scene_with(name=name, daemon=index % 2 == 0)(waits)


@scene
def renamed_later(gate):
    threading.current_thread().name = "renamed: 新しい"
    gate.wait()


@scene
def named_with_a_subclass(gate):
    class Text(str):
        pass

    threading.current_thread()._name = Text("a str subclass")
    gate.wait()


@scene
def many_attributes(gate):
    """An instance dictionary that is no longer the one shared by all threads."""
    thread = threading.current_thread()
    for number in range(100):
        setattr(thread, "attribute_{}".format(number), number)
    del thread.attribute_5
    gate.wait()


class OwnThread(threading.Thread):
    """Overridden, as many programs do."""

    def __init__(self, gate):
        super().__init__(name="own class", daemon=True)
        self.gate = gate
        self.extra = 1

    def run(self):
        self.gate.wait()


class SlottedThread(threading.Thread):
    __slots__ = ("gate",)

    def run(self):
        self.gate.wait()


def start_others(stage):
    """Threads that `Stage.play` does not make."""
    own = OwnThread(stage.gate)
    slotted = SlottedThread(name="with slots", daemon=True)
    slotted.gate = stage.gate
    for thread in (own, slotted):
        stage.count()
        thread.start()
        stage.scenes[thread.ident] = thread.name

    # No Thread object, hence no name.
    stage.count()
    stage.scenes[_thread.start_new_thread(stage.gate.wait, ())] = "start_new_thread"

    # A Thread object that the thread got by asking for it: "Dummy-1".
    stage.count()
    stage.scenes[_thread.start_new_thread(dummy, (stage.gate,))] = "dummy"

    # A thread that is known to the interpreter and runs no Python at all.
    stage.count()
    ident = _thread.start_new_thread(os.read, (GATE_FD, 1))
    stage.scenes[ident] = "frameless"
    stage.frameless.append(ident)

    stage.play(in_sleep, elsewhere=True)
    stage.play(in_lock, elsewhere=True)
    stage.play(in_condition, elsewhere=True)
    stage.play(in_event_with_timeout, elsewhere=True)
    stage.play(in_queue, elsewhere=True)
    stage.play(in_select, elsewhere=True)
    joined = stage.play(in_sleep, name="joined", elsewhere=True)
    stage.play(lambda gate: joined.join(), name="in_join", elsewhere=True)


def dummy(gate):
    threading.current_thread()
    gate.wait()


def in_sleep(gate):
    time.sleep(100000)


def in_lock(gate):
    lock = threading.Lock()
    with lock:
        with lock:
            pass


def in_condition(gate):
    condition = threading.Condition()
    with condition:
        condition.wait()


def in_event_with_timeout(gate):
    threading.Event().wait(100000)


def in_queue(gate):
    queue.Queue().get()


def in_select(gate):
    # Not standard input: its end would wake this one too.
    reading, writing = os.pipe()
    select.select([reading], [], [])
    sys.exit(writing)
