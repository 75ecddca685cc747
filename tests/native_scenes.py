"""What the stacks of `programs/native_scenes.py` are, and the extension module that they need."""

from __future__ import annotations

import contextlib
import functools
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from process_state import wait_until
from targets import PROGRAMS, Interpreter, Target

#: Python functions, and between them the C functions by which one calls the next. Of the C
#: functions there may be more on the stack. Each scene goes on with the one before.
SORTED_KEY = ["sorted_key", "builtins.sorted", "key", "wait", "posix.read"]
REDUCE = ["reduce_function", "_functools.reduce", "add", *SORTED_KEY]
GENERATOR = ["mapped_generator", "map.__next__", "generate", *REDUCE]
CLASS = ["class_with_init", "list.__init__", "map.__next__", "<lambda>", "__init__", *GENERATOR]
MAX_KEY = ["max_key", "builtins.max", "<lambda>", *CLASS]
ITERATOR = ["iterator", "tuple.__new__", "__next__", *MAX_KEY]
COMPARISON = ["comparison", "list.sort", "__lt__", *ITERATOR]
QSORT = ["qsort_callback", "qsort", "compare", *COMPARISON]
SQLITE = ["sqlite_function", "sqlite3.Connection.execute", "sqlite3_step", "scalar", *QSORT]
EXTENSION = [
    *("extension", "native_ext.call_int", "ext::apply", "call_back", "level_1"),
    *("native_ext.call_double", "ext::apply", "call_back", "level_2"),
    *("native_ext.call_template", "ext::Visitor::visit", "ext::apply", "call_back", "level_3"),
    *SQLITE,
]
