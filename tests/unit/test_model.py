import json
from importlib import resources
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from raw_snapshots import raw_frame, raw_snapshot, raw_thread

from pystack.model import SCHEMA_VERSION, Snapshot
from pystack.render.json import render_json

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
    "unknown": raw_snapshot(command=None, executable=None, stopped=False, stop_ns=None),
    "strange names": raw_snapshot(command=["\udcff\x1b"], executable="/é\x7f"),
}


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_json_is_valid_under_the_schema(name: str) -> None:
    text = render_json(Snapshot.from_raw(SNAPSHOTS[name]))
    validator = jsonschema.Draft202012Validator(strict(SCHEMA))
    validator.validate(json.loads(text))


def test_schema_is_valid_and_says_what_each_field_is() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["properties"]["schema_version"]["const"] == SCHEMA_VERSION
    for part in (SCHEMA, *SCHEMA["$defs"].values()):
        assert part["required"] == list(part["properties"])
        assert all(field["description"] for field in part["properties"].values())


def test_json_has_the_fields_of_the_core() -> None:
    raw = raw_snapshot(raw_thread(frames=[raw_frame()]))
    document = Snapshot.from_raw(raw).to_json_dict()
    ours = {"schema_version", "tool", "time", "kind"}
    assert {key: value for key, value in document.items() if key not in ours} == raw
    assert document["kind"] == "live"
    assert document["time"] == "2023-11-14T22:13:20.123456Z"


def test_json_is_one_line_of_ascii_without_controls() -> None:
    text = render_json(Snapshot.from_raw(SNAPSHOTS["strange names"]))
    assert text.endswith("\n")
    assert text[:-1].isascii()
    assert text[:-1].isprintable()


def test_snapshots_are_plain_immutable_values() -> None:
    raw = raw_snapshot()
    snapshot = Snapshot.from_raw(raw, kind="core")
    assert snapshot == Snapshot.from_raw(raw, kind="core")
    assert hash(snapshot) == hash(Snapshot.from_raw(raw, kind="core"))
    with pytest.raises(AttributeError):
        snapshot.pid = 1  # type: ignore[misc]
    assert snapshot.threads[0].frames[0].name == "work"
    old = Snapshot.from_raw(raw_snapshot(raw_thread(frames=[raw_frame(qualname=None)])))
    assert old.threads[0].frames[0].name == "work"
