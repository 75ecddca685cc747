"""The oracle itself: it accepts a dump that is the truth, and finds each way not to be it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from interpreters import required
from truth_compare import differences
from truthful_target import truthful_target

pytestmark = pytest.mark.live

Dump = dict[str, Any]


def dump_of(truth: dict[str, Any]) -> Dump:
    """The dump that a perfect reader would give."""
    return {
        "pid": truth["pid"],
        "namespace_pid": None,
        "version": truth["version"],
        "free_threaded": truth["free_threaded"],
        "debug": truth["debug"],
        "command": truth["command"],
        "problems": [],
        "threads": [
            {
                "tid": thread["native_id"],
                "namespace_tid": None,
                "python_thread_id": thread["ident"],
                "interpreter_id": thread["interpreter_id"],
                "name": thread["name"],
                "kernel_name": thread["kernel_name"],
                "is_main": thread["is_main"],
                "raising": None,
                "handling": thread.get("handling"),
                "stack_end": "complete" if thread["frames"] else "no_python",
                "stack_problem": None,
                "frames": [{"kind": "python", **frame} for frame in thread["frames"]],
            }
            for thread in truth["threads"]
        ],
    }


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("oracle")
    newest = required()[-1]
    with truthful_target(newest, "stage.py", folder) as target:
        yield target.truth


def thread_named(dump: Dump, name: str) -> dict[str, Any]:
    thread: dict[str, Any] = next(one for one in dump["threads"] if one["name"] == name)
    return thread


def set_frame(name: str, value: object, index: int = -2) -> Callable[[Dump], None]:
    def change(dump: Dump) -> None:
        frame = thread_named(dump, "nested_functions")["frames"][index]
        assert frame[name] != value
        frame[name] = value

    return change


def set_thread(name: str, value: object) -> Callable[[Dump], None]:
    def change(dump: Dump) -> None:
        thread = thread_named(dump, "try_except")
        assert thread[name] != value
        thread[name] = value

    return change


def drop_outermost_frame(dump: Dump) -> None:
    del thread_named(dump, "nested_functions")["frames"][0]


def drop_innermost_frame(dump: Dump) -> None:
    del thread_named(dump, "nested_functions")["frames"][-1]


def drop_middle_frame(dump: Dump) -> None:
    del thread_named(dump, "recursion_1000")["frames"][500]


def turn_stack_over(dump: Dump) -> None:
    thread_named(dump, "nested_functions")["frames"].reverse()


def add_suspended_generator(dump: Dump) -> None:
    thread = thread_named(dump, "generator_suspended")
    thread["frames"].insert(-1, dict(thread["frames"][-2], function="numbers"))


def drop_thread(dump: Dump) -> None:
    dump["threads"].remove(thread_named(dump, "lambdas"))


def drop_frameless_thread(dump: Dump) -> None:
    dump["threads"] = [thread for thread in dump["threads"] if thread["frames"]]


def repeat_thread(dump: Dump) -> None:
    dump["threads"].append(thread_named(dump, "lambdas"))


def swap_stacks(dump: Dump) -> None:
    first, second = thread_named(dump, "lambdas"), thread_named(dump, "class_body")
    first["frames"], second["frames"] = second["frames"], first["frames"]


def swap_names(dump: Dump) -> None:
    first, second = thread_named(dump, "эхо"), thread_named(dump, "𠀀")
    first["name"], second["name"] = second["name"], first["name"]


def spoil_surrogate(dump: Dump) -> None:
    thread_named(dump, "lone \udcff surrogate")["name"] = "lone ? surrogate"


def set_header(name: str, value: object) -> Callable[[Dump], None]:
    def change(dump: Dump) -> None:
        dump[name] = value

    return change


WAYS_TO_BE_WRONG = {
    "function": set_frame("function", "middle"),
    "function, case": set_frame("function", "Inner"),
    "qualname": set_frame("qualname", "inner"),
    "no qualname": set_frame("qualname", None),
    "file": set_frame("file", "scenes_calls.py"),
    "line of the innermost frame": set_frame("line", 1, -1),
    "line of a caller": set_frame("line", 1, -3),
    "line of the outermost frame": set_frame("line", 1, 0),
    "no line": set_frame("line", None),
    "end line": set_frame("end_line", None),
    "column": set_frame("column", 0),
    "column by one": set_frame("column", 13),
    "end column": set_frame("end_column", None),
    "first line": set_frame("first_line", 1),
    "native": set_frame("kind", "native"),
    "outermost frame gone": drop_outermost_frame,
    "innermost frame gone": drop_innermost_frame,
    "one frame of 1,000 gone": drop_middle_frame,
    "innermost first": turn_stack_over,
    "suspended generator": add_suspended_generator,
    "thread gone": drop_thread,
    "thread without frames gone": drop_frameless_thread,
    "thread twice": repeat_thread,
    "stacks of two threads": swap_stacks,
    "names of two threads": swap_names,
    "surrogate": spoil_surrogate,
    "native id": set_thread("tid", 1),
    "no native id": set_thread("tid", None),
    "interpreter": set_thread("interpreter_id", 1),
    "main": set_thread("is_main", True),
    "handled exception": set_thread("handling", "ValueError"),
    "no handled exception": set_thread("handling", None),
    "raised exception": set_thread("raising", "KeyError"),
    "torn": set_thread("stack_end", "torn"),
    "no Python": set_thread("stack_end", "no_python"),
    "pid": set_header("pid", 1),
    "version": set_header("version", "3.5.0"),
    "free-threaded": set_header("free_threaded", None),
    "debug": set_header("debug", None),
    "command": set_header("command", ["python"]),
    "problems": set_header("problems", ["something"]),
}


def test_truth_equals_itself(truth: dict[str, Any]) -> None:
    assert differences(truth, dump_of(truth)) == []


@pytest.mark.parametrize("change", WAYS_TO_BE_WRONG.values(), ids=WAYS_TO_BE_WRONG)
def test_each_error_is_found(truth: dict[str, Any], change: Callable[[Dump], None]) -> None:
    dump = copy.deepcopy(dump_of(truth))
    change(dump)
    assert differences(truth, dump)


def test_replaced_surrogates_are_accepted(truth: dict[str, Any]) -> None:
    dump = dump_of(truth)
    thread_named(dump, "lone \udcff surrogate")["name"] = "lone \ufffd\ufffd\ufffd surrogate"
    assert differences(truth, dump) == []


def test_every_scene_has_a_stack_of_its_own(truth: dict[str, Any]) -> None:
    """Otherwise swapped threads would not be seen. Some are alike by intent, but for the name."""
    alike = {"Dummy-2", "Dummy-3", "waits", "in_sleep", "joined"}
    stacks: dict[str, str] = {}
    for thread in truth["threads"]:
        functions = [frame["function"] for frame in thread["frames"]]
        if "waits" in functions or thread["name"] in alike or thread["name"] is None:
            continue
        key = repr(thread["frames"])
        assert key not in stacks, f"{thread['scene']} and {stacks[key]}"
        stacks[key] = thread["scene"]
