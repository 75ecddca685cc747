"""Compares the tasks of a dump with what the target said about them (`programs/waiting_tasks.py`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from truth_compare import FRAME_FIELDS, Json

#: Variables of the programs whose names look secret.
SECRETS = {"password", "current_trio_token"}


def task_differences(truth: Json, dump: Json) -> list[str]:
    """Each way in which the tasks of the dump are not the true ones; empty if there is none."""
    true = {task["id"]: task for task in truth["tasks"]}
    dumped = {task["id"]: task for task in dump["tasks"]}
    names = {address: task["name"] for address, task in true.items()}
    found = [f"{names[one]}: not in the dump" for one in true.keys() - dumped.keys()]
    found += [f"not a task: {dumped[one]}" for one in dumped.keys() - true.keys()]
    has_names = minor_version(truth) >= 8
    for address in sorted(true.keys() & dumped.keys()):
        task = true[address]
        name = task["name"]
        found += [
            f"{name}: {what}"
            for what in differences_of(task, dumped[address], names, has_names=has_names)
        ]
    return found


def differences_of(
    true: Json, dumped: Json, names: dict[int, str], *, has_names: bool
) -> Iterator[str]:
    expected_name = true["name"] if has_names else None
    if dumped["name"] != expected_name:
        yield f"is named {dumped['name']!r}"
    if dumped["state"] != true["state"]:
        yield f"is {dumped['state']}, not {true['state']}"
    wait: dict[str, Any] = dumped["waits_for"] or {
        "kind": None,
        "holders": [],
        "pid": None,
        "target": None,
    }
    if wait["kind"] != true["kind"]:
        yield f"waits for {wait}, not {true['kind']}"
    holders = sorted(names.get(one, "?") for one in wait["holders"])
    if holders != true["holders"]:
        yield f"waits for what {holders} hold, not {true['holders']}"
    if wait["pid"] != true.get("pid"):
        yield f"waits for process {wait['pid']}, not {true.get('pid')}"
    if wait["target"] != true.get("target"):
        yield f"waits for {wait['target']}, not {true.get('target')}"
    awaiters = sorted(names.get(one, "?") for one in dumped["awaited_by"])
    if awaiters != true["awaited_by"]:
        yield f"is awaited by {awaiters}, not {true['awaited_by']}"
    if dumped["problem"] is not None:
        yield f"has a problem: {dumped['problem']}"
    # The truth about a running one ends where its coroutines end.
    frames = dumped["frames"]
    if true["state"] == "running":
        frames = frames[: len(true["frames"])]
    places = [[frame[field] for field in FRAME_FIELDS] for frame in frames]
    true_places = [[frame[field] for field in FRAME_FIELDS] for frame in true["frames"]]
    if places != true_places:
        yield f"frames\n    {places}\n  not\n    {true_places}"


def variable_differences(truth: Json, dump: Json) -> list[str]:
    """Each variable of a task that does not run which is not the true one, by name, kind and value."""
    dumped = {task["id"]: task for task in dump["tasks"]}
    found = []
    for task in truth["tasks"]:
        frames = dumped[task["id"]]["frames"]
        if task["state"] == "running":
            found += [f"{task['name']}: has some" for one in frames if one["variables"] is not None]
            continue
        for true, frame in zip(task["variables"], frames, strict=True):
            where = f"{task['name']}, {frame['function']}"
            if frame["variables_problem"] or frame["variables_omitted"]:
                found.append(f"{where}: {frame}")
            shown = {one["name"]: one for one in frame["variables"] or ()}
            if shown.keys() != true.keys():
                found.append(f"{where}: {sorted(shown)} instead of {sorted(true)}")
            for name in shown.keys() & true.keys():
                value = None if name in SECRETS else true[name]
                is_true = value is None or shown[name]["value"] == value
                if shown[name]["redacted"] != (name in SECRETS) or not is_true:
                    found.append(f"{where}: {shown[name]} instead of {value}")
    return found


def greenlet_differences(truth: Json, dump: Json) -> list[str]:
    """Each way in which the greenlets of the dump are not the suspended ones of the truth."""

    def told(one: Json) -> list[Any]:
        frames = [[frame[field] for field in FRAME_FIELDS] for frame in one["frames"]]
        return [one["name"], one["python_thread_id"], frames]

    true = {one["id"]: told(one) for one in truth["greenlets"]}
    dumped = {task["id"]: told(task) for task in dump["tasks"]}
    found = [f"{true[one]}: not in the dump" for one in true.keys() - dumped.keys()]
    found += [f"no greenlet: {dumped[one]}" for one in dumped.keys() - true.keys()]
    for one in true.keys() & dumped.keys():
        if true[one] != dumped[one]:
            found.append(f"{dumped[one]}\n  instead of\n{true[one]}")
    unknown = ("state", "waits_for", "problem")
    for task in dump["tasks"]:
        if task["library"] != "greenlet" or any(task[field] is not None for field in unknown):
            found.append(f"not as greenlets are: {task}")
    return found


def minor_version(truth: Json) -> int:
    return int(truth["version"].split(".")[1])
