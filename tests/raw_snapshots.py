"""Snapshots as the C++ core hands them over, made by hand. Every field has a value that is dull."""

from __future__ import annotations

from typing import Any


def raw_frame(function: str = "work", line: int | None = 3, **fields: Any) -> Any:
    return {
        "kind": "python",
        "function": function,
        "qualname": function,
        "file": "/srv/app.py",
        "line": line,
        "end_line": line,
        "column": None,
        "end_column": None,
        "first_line": 1,
        **fields,
    }


def raw_thread(tid: int | None = 4711, **fields: Any) -> Any:
    return {
        "tid": tid,
        "namespace_tid": None,
        "python_thread_id": 0x7F0000000000 + (tid or 0),
        "interpreter_id": 0,
        "name": f"thread-{tid}",
        "kernel_name": "python",
        "is_main": False,
        "run_state": "S",
        "gil": "none",
        "gc_collecting": False,
        "raising": None,
        "handling": None,
        "stack_end": "complete",
        "stack_problem": None,
        "frames": [raw_frame()],
        **fields,
    }


def raw_snapshot(*threads: dict[str, Any], **fields: Any) -> Any:
    return {
        "pid": 4711,
        "namespace_pid": None,
        "executable": "/usr/bin/python3.13",
        "command": ["python", "app.py", "--port", "8000"],
        "version": "3.13.5",
        "free_threaded": False,
        "debug": False,
        "time_ns": 1_700_000_000_123_456_789,
        "stopped": True,
        "stop_ns": 400_000,
        "was_stopped": False,
        "attempts": 1,
        "interpreters": [{"id": 0, "gc_collecting": False, "finalizing": False}],
        "threads": list(threads) or [raw_thread()],
        "problems": [],
        **fields,
    }
