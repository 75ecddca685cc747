"""How a target program tells the truth about its own stacks: exactly, and only once nothing in it
moves any more.

A *scene* is a function that builds up some state of the interpreter and ends in `gate.wait()`,
which blocks for good. Each scene has a thread of its own. A last thread, the teller, waits until
every thread is where it shall stay, which it sees in the kernel (`/proc/self/task/TID/syscall`),
not in flags that a thread sets before it blocks. Then it takes `sys._current_frames()`, writes the
truth to a file and ends. A reader may look from the moment when the file is there and the process
has `task_count` threads.

Standard input is the gate: nothing is ever written to it, and its end (the test has closed it, or
has died) ends the program.

Written for Python 3.6 to 3.15, like everything in this folder.
"""

import itertools
import json
import os
import platform
import sys
import threading
import time
import traceback

GATE_FD = 0
READ_SYSCALL = {"x86_64": 0, "aarch64": 63}[platform.machine()]

# A healthy program needs less than a second; the machine may be busy.
SETTLE_TIMEOUT_S = 60.0
# A thread that is not at the gate counts as settled after that many looks that found it in the same
# system call, at the same instruction, with the same arguments. The GIL is free between the looks,
# so nothing keeps a thread that could run.
SETTLED_LOOKS = 5
LOOK_INTERVAL_S = 0.005


class Gate:
    """Where scenes end."""

    fd = GATE_FD

    def __init__(self):
        # Type name of the exception that the thread was handling when it came here, by thread.
        self.handling = {}
        # The thread's id in the kernel, likewise. What a Thread object has of it is wrong after a
        # fork up to 3.12.
        self.native_ids = {}

    def wait(self):
        error = sys.exc_info()[0]
        self.handling[threading.get_ident()] = None if error is None else error.__name__
        self.native_ids[threading.get_ident()] = native_id()
        os.read(GATE_FD, 1)
        os._exit(0)


class Stage:
    """All scenes of one process, and the file that gets the truth about them."""

    def __init__(self, path):
        self.path = path
        self.gate = Gate()
        self.scenes = {}
        self.skipped = {}
        # Threads that will be in the read of the gate, and threads that will block elsewhere; the
        # main thread is one of the first.
        self.at_gate = 1
        self.elsewhere = 0
        # Threads without a Python frame, which sys._current_frames() leaves out.
        self.frameless = []
        # Truth files of subinterpreters, each written by a thread on its way to the gate.
        self.parts = []

    def play(self, scene, name=None, daemon=True, elsewhere=False):
        """Run `scene(gate)` in a thread of its own; `elsewhere`: it blocks in something else than
        the gate."""
        label = name if name is not None else getattr(scene, "__name__", "scene")
        self.count(elsewhere)
        thread = threading.Thread(target=self.run, args=(scene, label), name=label, daemon=daemon)
        thread.start()
        self.scenes[thread.ident] = label
        return thread

    def count(self, elsewhere=False):
        if elsewhere:
            self.elsewhere += 1
        else:
            self.at_gate += 1

    def run(self, scene, label):
        try:
            scene(self.gate)
        except BaseException:
            sys.stderr.write("scene {!r} failed:\n{}".format(label, traceback.format_exc()))
            sys.stderr.flush()
            os._exit(1)
        sys.stderr.write("scene {!r} came to its end\n".format(label))
        sys.stderr.flush()
        os._exit(1)

    def tell(self):
        """Start the teller. The main thread then has to go to the gate too."""
        threading.Thread(target=self.run_teller, name="teller", daemon=True).start()

    def run_teller(self):
        try:
            wait_until_settled(self.at_gate, self.elsewhere)
            write_truth(self.path, self.truth(without=threading.get_ident()))
        except BaseException:
            traceback.print_exc()
            for ident, frame in sys._current_frames().items():
                traceback.print_stack(frame, limit=-3)
            os._exit(1)

    def truth(self, without, own=None):
        """Everything about everybody but the thread `without`, which is about to end; `own` is the
        innermost frame of the calling thread if that is one that stays."""
        table = FrameTable()
        threads = []
        for ident, frame in sorted(sys._current_frames().items()):
            if own is not None and ident == threading.get_ident():
                threads.append(self.thread(ident, own_stack(table, own)))
            elif ident != without and (
                ident in self.scenes or ident == threading.main_thread().ident
            ):
                # Up to 3.13.0 threads of other interpreters are in the list as well.
                threads.append(self.thread(ident, table.stack(frame)))
        threads.extend(self.thread(ident, []) for ident in self.frameless)
        parts = []
        for path in self.parts:
            with open(path) as part:
                parts.append(json.load(part))
        return dict(
            process_facts(),
            task_count=self.at_gate + self.elsewhere,
            gate=[READ_SYSCALL, GATE_FD],
            at_gate=self.at_gate,
            skipped=self.skipped,
            frames=table.rows,
            threads=threads,
            parts=parts,
        )

    def thread(self, ident, stack):
        facts = thread_facts(ident, self.gate.native_ids.get(ident))
        if ident in self.gate.handling:
            facts["handling"] = self.gate.handling[ident]
        is_main = ident == threading.main_thread().ident
        scene = self.scenes.get(ident, "main")
        return dict(facts, scene=scene, interpreter_id=0, is_main=is_main, stack=stack)


class FrameTable:
    """Frames as rows, so that deep recursion stays small: a stack is a list of row numbers,
    outermost first."""

    def __init__(self):
        self.rows = []
        self._index = {}
        self._described = {}

    def stack(self, frame):
        stack = []
        while frame is not None:
            # Decoding a position walks the whole code object, so each place is decoded once. The
            # frame keeps its code alive.
            place = (id(frame.f_code), frame.f_lasti, frame.f_lineno)
            if place not in self._described:
                self._described[place] = self.add(describe(frame))
            stack.append(self._described[place])
            frame = frame.f_back
        stack.reverse()
        return stack

    def add(self, row):
        key = tuple(sorted(row.items()))
        if key not in self._index:
            self._index[key] = len(self.rows)
            self.rows.append(row)
        return self._index[key]


def describe(frame):
    """One frame as the interpreter itself sees it. Its position is that of the instruction that it
    executes."""
    code = frame.f_code
    row = {
        "function": code.co_name,
        "qualname": getattr(code, "co_qualname", None),
        "file": code.co_filename,
        "first_line": code.co_firstlineno,
        "line": frame.f_lineno,
        "end_line": None,
        "column": None,
        "end_column": None,
    }
    if hasattr(code, "co_positions"):
        position = next(itertools.islice(code.co_positions(), frame.f_lasti // 2, None))
        row["end_line"], row["column"], row["end_column"] = position[1:]
        if position[0] != row["line"]:
            raise AssertionError("{}: line {} or {}".format(row, row["line"], position[0]))
    return row


def own_stack(table, frame):
    """The stack of the calling thread as it will be once `frame`, the innermost, has gone from the
    call that tells to the call that blocks. Both calls must be on one line, one the argument of the
    other, so that only the columns differ."""
    rows = []
    code, line = frame.f_code, frame.f_lineno
    inner = describe(frame)
    if hasattr(code, "co_positions"):
        on_line = [where[2:] for where in code.co_positions() if where[:2] == (line, line)]
        # The positions of -X no_debug_ranges have no columns.
        known = [columns for columns in on_line if None not in columns]
        if known:
            inner["column"], inner["end_column"] = max(known, key=lambda pair: pair[1] - pair[0])
    rows.append(table.add(inner))
    frame = frame.f_back
    while frame is not None:
        rows.append(table.add(describe(frame)))
        frame = frame.f_back
    rows.reverse()
    return rows


def tell_own(path, scene, interpreter_id, state_of_maker=False):
    """For a thread of a subinterpreter: write the truth about the thread, whose innermost frame is
    the caller's, and return the gate, as in `os.read(tell_own(...), 1)`.

    `state_of_maker`: the thread uses the thread state that came with the interpreter. Up to 3.12
    that one carries the ids of the thread that made the interpreter, whoever runs in it, so no
    reader can tell them."""
    table = FrameTable()
    stack = own_stack(table, sys._getframe(1))
    facts = thread_facts(threading.get_ident(), native_id())
    if state_of_maker:
        facts = dict.fromkeys(facts)
    # A subinterpreter calls its first thread its main thread. The process's main thread runs none
    # here.
    thread = dict(facts, scene=scene, interpreter_id=interpreter_id, is_main=False, stack=stack)
    write_truth(path, {"frames": table.rows, "threads": [thread]})
    return GATE_FD


def tell_last(stage):
    """For a process that is too far gone to start a teller: the truth about all threads, the
    caller's among them; used as `tell_own`."""
    wait_until_settled(stage.at_gate - 1, stage.elsewhere)
    write_truth(stage.path, stage.truth(without=None, own=sys._getframe(1)))
    return GATE_FD


def process_facts():
    with open("/proc/self/cmdline", "rb") as cmdline:
        command = [os.fsdecode(part) for part in cmdline.read().split(b"\0")[:-1]]
    info = sys.version_info
    level = (
        ""
        if info.releaselevel == "final"
        else {"alpha": "a", "beta": "b", "candidate": "rc"}[info.releaselevel]
    )
    return {
        "pid": os.getpid(),
        "version": "{}.{}.{}{}".format(
            info[0], info[1], info[2], level + str(info.serial) if level else ""
        ),
        "free_threaded": "t" in getattr(sys, "abiflags", ""),
        "gil": getattr(sys, "_is_gil_enabled", lambda: True)(),
        "debug": hasattr(sys, "gettotalrefcount"),
        "finalizing": getattr(sys, "is_finalizing", lambda: False)(),
        "command": command,
        "executable": os.readlink("/proc/self/exe"),
    }


def native_id():
    """Of the calling thread; None where the version does not say, so that nothing depends on the
    working of /proc here."""
    return threading.get_native_id() if hasattr(threading, "get_native_id") else None


def thread_facts(ident, native_id):
    thread = threading._active.get(ident)
    if native_id is None:
        native_id = getattr(thread, "native_id", None)
    kernel_name = None
    if native_id is not None:
        # newline="": a name may hold any byte, "\r" too.
        with open(
            "/proc/self/task/{}/comm".format(native_id), newline="", errors="surrogateescape"
        ) as comm:
            kernel_name = comm.read()[:-1]
    return {
        "ident": ident,
        "native_id": native_id,
        "name": None if thread is None else thread.name,
        "kernel_name": kernel_name,
    }


def write_truth(path, truth):
    """In one step: whoever sees the file sees all of it."""
    with open(path + ".part", "w") as file:
        json.dump(truth, file)
    os.rename(path + ".part", path)


def wait_until_settled(at_gate, elsewhere):
    """Returns once `at_gate` threads are in the read of the gate, `elsewhere` threads in other
    system calls which they do not leave, and the calling thread is the only one besides them."""
    own = os.path.basename(os.readlink("/proc/thread-self"))
    deadline = time.monotonic() + SETTLE_TIMEOUT_S
    seen, looks = None, 0
    while looks < SETTLED_LOOKS:
        calls = system_calls(own)
        waiting = sum(1 for call in calls.values() if is_gate(call))
        complete = (
            waiting == at_gate
            and len(calls) == at_gate + elsewhere
            and "running" not in calls.values()
        )
        looks = looks + 1 if complete and calls == seen else 0
        seen = calls
        if time.monotonic() > deadline:
            raise TimeoutError(
                "expected {} threads at the gate and {} elsewhere, have {} of {}: {}".format(
                    at_gate, elsewhere, waiting, len(calls), calls
                )
            )
        time.sleep(LOOK_INTERVAL_S)


def system_calls(own):
    """What each thread but the own one is in, as the kernel says it: number, arguments, stack
    pointer, program counter."""
    calls = {}
    for tid in os.listdir("/proc/self/task"):
        if tid != own:
            try:
                with open("/proc/self/task/{}/syscall".format(tid)) as file:
                    calls[tid] = file.read().strip()
            except OSError:  # the thread has just ended
                calls[tid] = "running"
    return calls


def is_gate(call):
    words = call.split()
    return words[0] == str(READ_SYSCALL) and int(words[1], 16) == GATE_FD


# Scenes register here at the import of their modules: (name, function, options of Stage.play), in
# order.
SCENES = []
SKIPPED = {}


def scene(function):
    SCENES.append((function.__name__, function, {}))
    return function


def scene_with(**options):
    """As `scene`, with options for `Stage.play`; `name` is the name of the thread."""

    def register(function):
        SCENES.append((options.pop("name", function.__name__), function, options))
        return function

    return register


def skip(name, reason):
    SKIPPED[name] = reason
