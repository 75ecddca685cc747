"""A snapshot is described four times: by what the C++ core makes, its stub, the model and the schema of the
JSON output. They must say the same."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import resources
from typing import Any, get_args

import pytest

from core_stub import annotated
from pystack import _core, literals, model

SCHEMA: dict[str, Any] = json.loads(
    (resources.files("pystack") / "schemas" / "dump-v1.schema.json").read_text()
)

#: In the stub, the model and the schema; and what the model adds.
DESCRIPTIONS: dict[str, tuple[Any, str, set[str]]] = {
    "RawSnapshot": (model.Snapshot, "", {"kind", "watched"}),
    "RawInterpreter": (model.Interpreter, "interpreter", set()),
    "RawThread": (model.Thread, "thread", {"unmoved"}),
    "RawEventLoop": (model.EventLoop, "event_loop", set()),
    "RawTask": (model.Task, "task", {"unmoved"}),
    "RawTaskWait": (model.TaskWait, "task_wait", set()),
    "RawFrame": (model.Frame, "frame", set()),
    "RawNativeFrame": (model.NativeFrame, "native_frame", set()),
    "RawGap": (model.Gap, "gap", set()),
    "RawVariable": (model.Variable, "variable", set()),
    "RawCore": (model.CoreDetails, "core", {"path", "compression"}),
    "RawCoreModule": (model.CoreModule, "core_module", set()),
}


def properties(name: str) -> dict[str, Any]:
    part = SCHEMA["$defs"][name] if name else SCHEMA
    found: dict[str, Any] = part["properties"]
    return found


@pytest.mark.parametrize("stub", DESCRIPTIONS)
def test_stub_model_and_schema_have_the_same_fields(stub: str) -> None:
    of_model, of_schema, added = DESCRIPTIONS[stub]
    fields = set(of_model._fields)
    assert set(annotated(stub)) == fields - added
    wrapper = {"schema_version", "tool", "time"} if not of_schema else set()
    assert set(properties(of_schema)) == fields | wrapper


def test_stub_model_and_schema_have_the_same_values() -> None:
    def schema_values(part: str, field: str) -> set[str]:
        return {value for value in properties(part)[field]["enum"] if value is not None}

    assert schema_values("thread", "gil") == set(get_args(model.GilState))
    assert schema_values("thread", "stack_end") == set(get_args(model.StackEnd))
    assert schema_values("task", "state") == set(get_args(model.TaskState))
    assert schema_values("task_wait", "kind") == set(get_args(model.TaskWaitKind))
    assert schema_values("native_frame", "name_source") == set(get_args(model.NameSource))
    assert schema_values("core_module", "status") == set(get_args(model.ModuleStatus))
    for stub, field, part in (
        ("RawNativeFrame", "name_source", "native_frame"),
        ("RawVariable", "kind", "variable"),
        ("RawTaskWait", "kind", "task_wait"),
        ("RawCoreModule", "status", "core_module"),
    ):
        words = getattr(literals, annotated(stub)[field].removeprefix("literals."))
        assert set(get_args(words)) == schema_values(part, field)


def test_the_core_makes_what_its_stub_says() -> None:
    script = "import sys; print(sorted([3, 1], key=lambda item: sys.stdin.read()))"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE) as target:
        try:
            snapshot = blocked_snapshot(target.pid)
        finally:
            target.kill()
    assert set(snapshot) == set(annotated("RawSnapshot"))
    assert set(snapshot["interpreters"][0]) == set(annotated("RawInterpreter"))
    (thread,) = snapshot["threads"]
    assert set(thread) == set(annotated("RawThread"))
    (inner,) = (frame for frame in thread["frames"] if frame.get("function") == "<lambda>")
    assert set(inner) | {"interpreter_id"} == set(annotated("RawFrame"))
    assert set(inner["variables"][0]) == set(annotated("RawVariable"))
    native = [frame for frame in thread["frames"] if frame["kind"] == "native"]
    assert native
    assert all(set(frame) == set(annotated("RawNativeFrame")) for frame in native)


def blocked_snapshot(pid: int) -> dict[str, Any]:
    """Once the script waits for its input."""
    variables = {
        "max_depth": 1,
        "max_items": 1,
        "max_string": 9,
        "max_bytes": 1 << 20,
        "redact": [],
        "redact_words": [],
        "redact_text": False,
    }
    native = {
        "all_threads": False,
        "last_only": False,
        "fetch": None,
        "sampled_stack_bytes": 1 << 20,
    }
    while True:
        try:
            snapshot: Any = _core.dump_live(pid, locals=variables, native=native)  # type: ignore[arg-type]
        except Exception:  # It has no interpreter yet.
            continue
        names = {
            frame.get("function") for thread in snapshot["threads"] for frame in thread["frames"]
        }
        if "<lambda>" in names:
            assert isinstance(snapshot, dict)
            return snapshot
