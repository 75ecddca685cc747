import pickle
import re
from pathlib import Path

import pytest

from pystack import errors

ERROR_CPP = Path(__file__).parents[2] / "cpp" / "base" / "error.cpp"

EXIT_CODES = {
    "ReadFault": 1,
    "CorruptData": 1,
    "NoSuchProcess": 5,
    "TargetExited": 5,
    "PermissionDenied": 4,
    "NotPython": 3,
    "NotACore": 1,
    "CoreTruncated": 1,
    "MissingBinary": 1,
    "UnsupportedTarget": 1,
    "VersionUnsupported": 1,
    "OffsetsRejected": 1,
    "InvalidArgument": 2,
    "OutOfMemory": 1,
    "Cancelled": 1,
    "System": 1,
}


@pytest.mark.parametrize(("code", "exit_code"), EXIT_CODES.items())
def test_each_code_has_its_class_and_exit_code(code: str, exit_code: int) -> None:
    error = errors.from_code(code, "it failed", address=0x1000, size=8, pid=12)
    assert type(error).__name__ == {"System": "SystemFailure"}.get(code, code)
    assert error.exit_code == exit_code
    assert str(error) == "it failed"
    assert error.pid == 12


def test_codes_are_those_of_the_core() -> None:
    names = re.findall(r'case ErrorCode::k\w+:\s+return "(\w+)";', ERROR_CPP.read_text())
    assert set(names) == set(EXIT_CODES)


def test_unknown_code_is_still_an_error() -> None:
    assert type(errors.from_code("FromTheFuture", "x")) is errors.PystackError


def test_fields() -> None:
    fault = errors.from_code("ReadFault", "x", address=0x1000, size=8)
    assert (fault.address, fault.size, fault.pid) == (0x1000, 8, None)
    failure = errors.from_code("System", "open: No space left on device", errno=28)
    assert isinstance(failure, errors.SystemFailure)
    assert (failure.errno, failure.size) == (28, None)
    assert isinstance(errors.from_code("InvalidArgument", "x"), ValueError)


def test_hint_of_the_class_and_own_hint() -> None:
    assert "ps -e" in (errors.NoSuchProcess("x").hint or "")
    assert errors.NoSuchProcess("x", hint="look again").hint == "look again"
    assert errors.PystackError("x").hint is None


def test_errors_survive_pickling() -> None:
    error = errors.PermissionDenied("x", pid=1, hint="h", cause="c")
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.pid, copy.hint, copy.cause) == ("x", 1, "h", "c")
