import sys
from types import SimpleNamespace
from typing import Any

import pytest

import pystack
from pystack import api, errors
from raw_snapshots import raw_snapshot


class FakeCore:
    """In the place of the extension: notes how it is called, and gives or raises `result`."""

    def __init__(self, result: Any) -> None:
        self.result = result
        self.calls: list[dict[str, Any]] = []

    def dump_live(self, pid: int, **arguments: Any) -> Any:
        self.calls.append({"pid": pid, **arguments})
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    Sampler = dump_live


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch) -> FakeCore:
    fake = FakeCore(raw_snapshot())
    module = SimpleNamespace(dump_live=fake.dump_live, Sampler=fake.Sampler)
    monkeypatch.setitem(sys.modules, "pystack._core", module)
    monkeypatch.setattr(pystack, "_core", module, raising=False)
    return fake


def test_dump(core: FakeCore) -> None:
    snapshot = api.dump(4711)
    assert isinstance(snapshot, pystack.Snapshot)
    assert snapshot.pid == 4711
    api.dump(4711, block=False, exhaustive=True, raise_priority=False)
    others = dict.fromkeys(("locals", "native", "native_without_python", "max_memory"))
    others["pid"] = 4711
    others["tasks"] = True
    assert core.calls == [
        {**others, "stop": True, "exhaustive": False, "raise_priority": True},
        {**others, "stop": False, "exhaustive": True, "raise_priority": False},
    ]
    api.dump(4711, max_memory=1000)
    assert core.calls[-1]["max_memory"] == 1000
    api.dump(4711, native=True, require_python=False)
    assert core.calls[-1]["native_without_python"] == core.calls[-1]["native"] is not None
    api.dump(4711, require_python=False)
    assert core.calls[-1]["native_without_python"] is not None
    assert core.calls[-1]["native"] is None
    with pytest.raises(errors.InvalidArgument):
        api.dump(4711, max_memory=0)


def test_memory_that_runs_out(core: FakeCore) -> None:
    core.result = MemoryError()
    with pytest.raises(errors.OutOfMemory):
        api.dump(4711)


def test_open_sampler(core: FakeCore) -> None:
    core.result = "sampler"
    sampler: object = api.open_sampler(4711, rate_hz=100, stop=True)
    assert sampler == "sampler"
    assert core.calls == [
        {
            "pid": 4711,
            "rate_hz": 100,
            "stop": True,
            "exhaustive": False,
            "native": None,
            "tasks": False,
            "raise_priority": True,
            "max_cpu_share": 1.0,
            "max_pause_share": 1.0,
            "max_memory": None,
            "cancelled": None,
        }
    ]
    with pytest.raises(errors.InvalidArgument, match="share"):
        api.open_sampler(4711, rate_hz=100, max_cpu_share=1.5)
    with pytest.raises(errors.InvalidArgument):
        api.open_sampler(4711, rate_hz=float("nan"))


def test_true_stands_for_the_defaults(core: FakeCore) -> None:
    api.dump(4711, locals=True, native=True)
    api.dump(4711, locals=False, native=False)
    assert core.calls[0]["locals"] == pystack.Locals().to_raw()
    assert core.calls[0]["native"] == pystack.Native().to_raw()
    assert core.calls[1]["locals"] is core.calls[1]["native"] is None
    with pytest.raises(errors.InvalidArgument, match="native must be Native"):
        api.dump(4711, native="all")  # type: ignore[arg-type]


def test_impossible_pids(core: FakeCore) -> None:
    with pytest.raises(errors.InvalidArgument):
        api.dump(0)
    with pytest.raises(errors.NoSuchProcess):
        api.dump(2**40)
    for wrong in ("4711", 4711.0, None, True):
        with pytest.raises(errors.InvalidArgument, match="pid must be an int"):
            api.dump(wrong)  # type: ignore[arg-type]
    assert core.calls == []


def test_refusal_is_diagnosed(core: FakeCore) -> None:
    core.result = errors.PermissionDenied("ptrace: Operation not permitted", pid=1)
    with pytest.raises(errors.PermissionDenied) as caught:
        api.dump(1)
    assert caught.value.cause
    assert caught.value.hint
    assert str(caught.value).startswith("no permission to read process 1: ")
    assert str(caught.value).endswith(caught.value.cause)


def test_layout_errors_pass_as_they_are(core: FakeCore) -> None:
    core.result = errors.VersionUnsupported("CPython 3.5 is not supported", pid=1)
    with pytest.raises(errors.VersionUnsupported, match=r"CPython 3\.5"):
        api.dump(1)
