import json
from importlib import resources
from typing import Any

import jsonschema
import pytest

from pystack.model import SCHEMA_VERSION, CoreDetails, Snapshot
from pystack.render.json import render_json
from raw_snapshots import (
    raw_core,
    raw_core_module,
    raw_frame,
    raw_gap,
    raw_native_frame,
    raw_snapshot,
    raw_thread,
)

SCHEMA: dict[str, Any] = json.loads(
    (resources.files("pystack") / "schemas" / "dump-v1.schema.json").read_text()
)


def strict(schema: Any) -> Any:
    """The schema with every unknown field forbidden, as ours must not have any."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: strict(value) for key, value in schema.items()}
    if "properties" in schema:
        result["additionalProperties"] = False
    return result


def read(raw: Any) -> Snapshot:
    core = None if raw["core"] is None else CoreDetails.from_raw(raw["core"], "/var/core.7", "zstd")
    return Snapshot.from_raw(raw, core)


# What a core on demand, or one without some of its notes, does not say.
UNTOLD = (
    *("signal", "signal_name", "signal_code", "fault_address", "terminating_tid"),
    *("ppid", "pgrp", "sid", "uid", "gid", "nice", "state"),
)
SNAPSHOTS = {
    "plain": raw_snapshot(),
    "busy": raw_snapshot(
        raw_thread(
            gil="holds", raising="ValueError", handling="KeyError", frames=[raw_frame(line=None)]
        ),
        raw_thread(4712, gil=None, stack_end="torn", stack_problem="it moved", frames=[]),
        raw_thread(None, name=None, kernel_name=None, run_state=None, is_main=None),
        problems=["interpreter 1 could not be read"],
        namespace_pid=7,
    ),
    "native": raw_snapshot(
        raw_thread(
            frames=[
                raw_native_frame("main", is_plumbing=True),
                raw_frame(interpreter_id=3),
                raw_gap(),
                raw_native_frame("list_sort", python_name="list.sort", is_inlined=True),
                raw_native_frame(
                    "libfoo.so+0x123", symbol=None, file=None, line=None, name_source="none"
                ),
            ]
        ),
        raw_thread(python_thread_id=None, interpreter_id=None, stack_end="no_python", gil=None),
    ),
    "unknown": raw_snapshot(command=None, executable=None, stopped=False, stop_ns=None),
    "core": raw_snapshot(core=raw_core(), stopped=False, stop_ns=None),
    "silent core": raw_snapshot(
        core=raw_core(
            cause="generated on demand",
            **dict.fromkeys(UNTOLD),
            modules=[
                raw_core_module(status="missing", found_path=None, file_build_id=None),
                raw_core_module(status="mismatched", core_build_id=None, file_build_id=""),
            ],
        ),
        pid=0,
        stopped=False,
        stop_ns=None,
    ),
    "strange names": raw_snapshot(command=["\udcff\x1b"], executable="/é\x7f"),
}


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_json_is_valid_under_the_schema(name: str) -> None:
    text = render_json(read(SNAPSHOTS[name]))
    validator = jsonschema.Draft202012Validator(strict(SCHEMA))
    validator.validate(json.loads(text))


#: Fields that are not there when there is nothing to say.
OPTIONAL = {("frame", "interpreter_id")}


def test_schema_is_valid_and_says_what_each_field_is() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["properties"]["schema_version"]["const"] == SCHEMA_VERSION
    parts = {"": SCHEMA, **SCHEMA["$defs"]}
    for title, part in parts.items():
        always = [name for name in part["properties"] if (title, name) not in OPTIONAL]
        assert part["required"] == always
        assert all(field["description"] for field in part["properties"].values())


def test_json_has_the_fields_of_the_core() -> None:
    frames = [raw_frame(), raw_native_frame(), raw_gap(), raw_frame(interpreter_id=1)]
    raw = raw_snapshot(raw_thread(frames=frames))
    document = read(raw).to_json_dict()
    ours = {"schema_version", "tool", "time", "kind", "watched"}
    # Only a watch knows what has not moved.
    assert [thread.pop("unmoved") for thread in document["threads"]] == [None]
    assert {key: value for key, value in document.items() if key not in ours} == raw
    assert document["kind"] == "live"
    assert document["time"] == "2023-11-14T22:13:20.123456Z"


def test_json_of_a_core_has_its_details() -> None:
    document = read(SNAPSHOTS["core"]).to_json_dict()
    assert document["kind"] == "core"
    assert document["core"] == {"path": "/var/core.7", "compression": "zstd", **raw_core()}


def test_json_is_one_line_of_ascii_without_controls() -> None:
    text = render_json(read(SNAPSHOTS["strange names"]))
    assert text.isascii()
    assert text.isprintable()


def test_snapshots_are_plain_immutable_values() -> None:
    raw = raw_snapshot(core=raw_core())
    snapshot = read(raw)
    assert snapshot == read(raw)
    assert hash(snapshot) == hash(read(raw))
    with pytest.raises(AttributeError):
        snapshot.pid = 1  # type: ignore[misc]
    assert snapshot.threads[0].python_frames[0].name == "work"
    old = read(raw_snapshot(raw_thread(frames=[raw_frame(qualname=None)])))
    assert old.threads[0].python_frames[0].name == "work"
