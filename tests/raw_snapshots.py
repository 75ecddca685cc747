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
        "variables": None,
        "variables_omitted": 0,
        "variables_problem": None,
        **fields,
    }


def raw_native_frame(function: str = "compute", **fields: Any) -> Any:
    return {
        "kind": "native",
        "function": function,
        "python_name": None,
        "signature": function,
        "symbol": function,
        "name_source": "debug-info",
        "file": "src/compute.c",
        "line": 7,
        "module": "/usr/lib/libcompute.so.1",
        "build_id": "0123abcd",
        "offset": 0x1234,
        "address": 0x7F0000001234,
        "is_inlined": False,
        "is_plumbing": False,
        "is_guess": False,
        **fields,
    }


def raw_gap(reason: str = "it cannot be unwound") -> Any:
    return {"kind": "gap", "reason": reason}


def raw_variable(name: str = "x", value: str | None = "1", **fields: Any) -> Any:
    return {
        "name": name,
        "kind": "local",
        "value": value,
        "type": "int",
        "redacted": value is None,
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
        "waits_for": None,
        "stack_end": "complete",
        "stack_problem": None,
        "frames": [raw_frame()],
        "event_loop": None,
        **fields,
    }


def raw_task(name: str | None = "Task-1", **fields: Any) -> Any:
    return {
        "library": "asyncio",
        "id": 0x7F0000000010,
        "interpreter_id": 0,
        "name": name,
        "state": "waiting",
        "loop": 0x7F0000000020,
        "python_thread_id": None,
        "waits_for": None,
        "awaited_by": [],
        "problem": None,
        "frames": [raw_frame()],
        **fields,
    }


def raw_task_wait(kind: str = "future", **fields: Any) -> Any:
    return {
        "kind": kind,
        "id": None,
        "type": None,
        "holders": [],
        "target": None,
        "remaining_s": None,
        "may_time_out": False,
        "pid": None,
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
        "deadlocks": [],
        "task_deadlocks": [],
        "tasks": [],
        "problems": [],
        "core": None,
        **fields,
    }


def raw_core_module(path: str = "/usr/bin/python3.13", **fields: Any) -> Any:
    return {
        "path": path,
        "begin": 0x400000,
        "end": 0xC00000,
        "status": "found",
        "found_path": path,
        "core_build_id": "0123abcd",
        "file_build_id": "0123abcd",
        **fields,
    }


def raw_core(**fields: Any) -> Any:
    return {
        "cause": "SIGSEGV: address not mapped (SEGV_MAPERR) at 0x10",
        "signal": 11,
        "signal_name": "SIGSEGV",
        "signal_code": "SEGV_MAPERR",
        "fault_address": 0x10,
        "sender_pid": None,
        "sender_uid": None,
        "terminating_tid": 4711,
        "stack_overflow": False,
        "ppid": 1,
        "pgrp": 4711,
        "sid": 4711,
        "uid": 1000,
        "gid": 1000,
        "nice": 0,
        "state": "R",
        "written_ns": 1_700_000_000_123_456_789,
        "written_by": 1000,
        "arguments_cut": False,
        "truncated": False,
        "missing_bytes": 0,
        "modules": [raw_core_module()],
        **fields,
    }
