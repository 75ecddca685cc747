#!/usr/bin/env python3
"""Generates cpp/cpython/layout/layouts.inc, the offsets of CPython's structures, out of its own headers.

For every directory of headers given or found, a C probe is compiled once for each kind of build
(GIL or free-threaded, release or debug) and its constants are read from the compiler's assembly
output. Nothing is run, so a cross compiler serves as well as the host's. Builds that agree share
one column.

    tools/generate_layouts.py           rewrites layouts.inc; needs the headers of every version
    tools/generate_layouts.py --check   compares the file with whatever headers this machine has
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FIELDS_DEF = ROOT / "cpp" / "cpython" / "layout" / "layout_fields.def"
OUTPUT = ROOT / "cpp" / "cpython" / "layout" / "layouts.inc"

FIRST_MINOR = 6
LAST_MINOR = 15
FIRST_FREE_THREADED_MINOR = 13

# What each field of layout_fields.def is in the headers, by version. A line without indentation
# opens a section: its name, the versions that have it, its C type. An indented line is a field: its
# name, the versions ("+" = and later, "t" = free-threaded builds only), the member, or "=" and a C
# expression. A field that is renamed has a line for each name.
MEMBERS = """
runtime_state                 3.7+        _PyRuntimeState
    finalizing                3.7-3.8     finalizing
    finalizing                3.9+        _finalizing
    interpreters_head         3.7+        interpreters.head
    interpreters_main         3.7+        interpreters.main
    gc                        3.7-3.8     gc
    ceval_gil                 3.7-3.11    ceval.gil
    gilstate_tstate_current   3.7-3.11    gilstate.tstate_current

interpreter_state             3.6+        PyInterpreterState
    id                        3.7+        id
    next                      3.6+        next
    threads_head              3.6-3.10    tstate_head
    threads_head              3.11+       threads.head
    threads_main              3.13+       threads.main
    finalizing                3.12+       _finalizing
    gc                        3.9+        gc
    imports_modules           3.6-3.11    modules
    imports_modules           3.12+       imports.modules
    sysdict                   3.6+        sysdict
    builtins                  3.6+        builtins
    ceval_gil                 3.12+       ceval.gil
    own_gil                   3.12+       _gil
    code_object_generation    3.14+       _code_object_generation
    tlbc_generation           3.14t+      tlbc_indices.tlbc_generation

gil                           3.7+        struct _gil_runtime_state
    enabled                   3.13t+      enabled
    last_holder               3.7+        last_holder
    locked                    3.7+        locked
    switch_number             3.7+        switch_number
    cond                      3.7+        cond
    mutex                     3.7+        mutex
    switch_cond               3.7+        switch_cond
    switch_mutex              3.7+        switch_mutex

gc                            3.7+        struct _gc_runtime_state
    collecting                3.7+        collecting
    frame                     3.15+       frame

thread_state                  3.6+        PyThreadState
    prev                      3.6+        prev
    next                      3.6+        next
    interp                    3.6+        interp
    frame                     3.6-3.10    frame
    cframe                    3.11-3.12   cframe
    current_frame             3.13+       current_frame
    base_frame                3.15+       base_frame
    thread_id                 3.6+        thread_id
    native_thread_id          3.11+       native_thread_id
    id                        3.7+        id
    datastack_chunk           3.11+       datastack_chunk
    datastack_top             3.11+       datastack_top
    datastack_limit           3.11+       datastack_limit
    status                    3.12+       _status
    state                     3.13+       state
    eval_breaker              3.13+       eval_breaker
    holds_gil                 3.14+       holds_gil
    gil_requested             3.15+       gil_requested
    exc_type                  3.6-3.11    curexc_type
    handled_value             3.6         exc_value
    current_exception         3.12+       current_exception
    exc_info                  3.7+        exc_info
    dict                      3.6+        dict

err_stackitem                 3.7+        _PyErr_StackItem
    exc_value                 3.7+        exc_value
    previous_item             3.7+        previous_item

cframe                        3.11-3.12   _PyCFrame
    current_frame             3.11-3.12   current_frame
    previous                  3.11-3.12   previous

stack_chunk                   3.11+       _PyStackChunk
    previous                  3.11+       previous
    size                      3.11+       size
    top                       3.11+       top
    data                      3.11+       data

interpreter_frame             3.6-3.10    PyFrameObject
interpreter_frame             3.11+       _PyInterpreterFrame
    previous                  3.6-3.10    f_back
    previous                  3.11+       previous
    executable                3.6-3.12    f_code
    executable                3.13+       f_executable
    instr_ptr                 3.6-3.10    f_lasti
    instr_ptr                 3.11-3.12   prev_instr
    instr_ptr                 3.13+       instr_ptr
    localsplus                3.6-3.10    f_localsplus
    localsplus                3.11+       localsplus
    owner                     3.11+       owner
    is_entry                  3.11        is_entry
    stackpointer              3.6-3.9     f_stacktop
    stackpointer              3.10        f_stackdepth
    stackpointer              3.11-3.13   stacktop
    stackpointer              3.14+       stackpointer
    valuestack                3.6-3.10    f_valuestack
    state                     3.10        f_state
    executing                 3.6-3.9     f_executing
    iblock                    3.6-3.10    f_iblock
    blockstack                3.6-3.10    f_blockstack
    tlbc_index                3.14t+      tlbc_index
    funcobj                   3.11        f_func
    funcobj                   3.12+       f_funcobj
    globals                   3.6+        f_globals
    locals                    3.6+        f_locals
    frame_object              3.11+       frame_obj
    trace                     3.6-3.10    f_trace
    lineno                    3.6-3.10    f_lineno

frame_object                  3.11+       PyFrameObject
    frame                     3.11+       f_frame
    lineno                    3.11+       f_lineno

code_object                   3.6+        PyCodeObject
    filename                  3.6+        co_filename
    name                      3.6+        co_name
    qualname                  3.11+       co_qualname
    linetable                 3.6-3.9     co_lnotab
    linetable                 3.10+       co_linetable
    firstlineno               3.6+        co_firstlineno
    argcount                  3.6+        co_argcount
    posonlyargcount           3.8+        co_posonlyargcount
    kwonlyargcount            3.6+        co_kwonlyargcount
    flags                     3.6+        co_flags
    stacksize                 3.6+        co_stacksize
    nlocalsplus               3.11+       co_nlocalsplus
    localsplusnames           3.11+       co_localsplusnames
    localspluskinds           3.11+       co_localspluskinds
    nlocals                   3.6-3.10    co_nlocals
    varnames                  3.6-3.10    co_varnames
    cellvars                  3.6-3.10    co_cellvars
    freevars                  3.6-3.10    co_freevars
    code                      3.6-3.10    co_code
    co_code_adaptive          3.11+       co_code_adaptive
    exceptiontable            3.11+       co_exceptiontable
    firsttraceable            3.11+       _co_firsttraceable
    framesize                 3.12+       co_framesize
    co_tlbc                   3.14t+      co_tlbc

pyobject                      3.6+        PyObject
    ob_type                   3.6+        ob_type
    ob_size                   3.6+        =offsetof(PyVarObject, ob_size)

type_object                   3.6+        PyTypeObject
    tp_name                   3.6+        tp_name
    tp_basicsize              3.6+        tp_basicsize
    tp_itemsize               3.6+        tp_itemsize
    tp_repr                   3.6+        tp_repr
    tp_flags                  3.6+        tp_flags
    tp_base                   3.6+        tp_base
    tp_dict                   3.6+        tp_dict
    tp_dictoffset             3.6+        tp_dictoffset
    tp_mro                    3.6+        tp_mro
    heap_type_size            3.6+        =sizeof(PyHeapTypeObject)
    ht_name                   3.6+        =offsetof(PyHeapTypeObject, ht_name)
    ht_qualname               3.6+        =offsetof(PyHeapTypeObject, ht_qualname)
    ht_module                 3.9+        =offsetof(PyHeapTypeObject, ht_module)
    ht_cached_keys            3.6+        =offsetof(PyHeapTypeObject, ht_cached_keys)

tuple_object                  3.6+        PyTupleObject
    ob_size                   3.6+        ob_base.ob_size
    ob_item                   3.6+        ob_item

list_object                   3.6+        PyListObject
    ob_size                   3.6+        ob_base.ob_size
    ob_item                   3.6+        ob_item

set_object                    3.6+        PySetObject
    used                      3.6+        used
    mask                      3.6+        mask
    table                     3.6+        table

dict_object                   3.6+        PyDictObject
    ma_used                   3.6+        ma_used
    ma_keys                   3.6+        ma_keys
    ma_values                 3.6+        ma_values

dict_keys                     3.6-3.10    struct probe_dictkeysobject
dict_keys                     3.11+       struct _dictkeysobject
    dk_size                   3.6-3.10    dk_size
    dk_log2_size              3.11+       dk_log2_size
    dk_log2_index_bytes       3.11+       dk_log2_index_bytes
    dk_kind                   3.11+       dk_kind
    dk_nentries               3.6+        dk_nentries
    dk_indices                3.6+        dk_indices

dict_values                   3.13+       struct _dictvalues
    capacity                  3.13+       capacity
    size                      3.13+       size
    valid                     3.13+       valid
    values                    3.13+       values

float_object                  3.6+        PyFloatObject
    ob_fval                   3.6+        ob_fval

long_object                   3.6+        PyLongObject
    lv_tag                    3.12+       long_value.lv_tag
    ob_digit                  3.6-3.11    ob_digit
    ob_digit                  3.12+       long_value.ob_digit

bytes_object                  3.6+        PyBytesObject
    ob_size                   3.6+        ob_base.ob_size
    ob_sval                   3.6+        ob_sval

unicode_object                3.6+        PyUnicodeObject
    state                     3.6+        _base._base.state
    length                    3.6+        _base._base.length
    asciiobject_size          3.6+        =sizeof(PyASCIIObject)
    compactunicodeobject_size 3.6+        =sizeof(PyCompactUnicodeObject)
    data                      3.6+        data

gen_object                    3.6+        PyGenObject
    gi_frame                  3.6-3.10    gi_frame
    gi_name                   3.6+        gi_name
    gi_qualname               3.6+        gi_qualname
    gi_iframe                 3.11+       gi_iframe
    gi_frame_state            3.11+       gi_frame_state

cell_object                   3.6+        PyCellObject
    ob_ref                    3.6+        ob_ref

complex_object                3.6+        PyComplexObject
    cval                      3.6+        cval

slice_object                  3.6+        PySliceObject
    start                     3.6+        start
    stop                      3.6+        stop
    step                      3.6+        step

bytearray_object              3.6+        PyByteArrayObject
    ob_size                   3.6+        ob_base.ob_size
    ob_start                  3.6+        ob_start

function_object               3.6+        PyFunctionObject
    func_closure              3.6+        func_closure
    func_qualname             3.6+        func_qualname

method_object                 3.6+        PyMethodObject
    im_func                   3.6+        im_func
    im_self                   3.6+        im_self

cfunction_object              3.6+        PyCFunctionObject
    m_ml                      3.6+        m_ml
    m_self                    3.6+        m_self

descriptor_object             3.6+        PyDescrObject
    d_type                    3.6+        d_type
    d_name                    3.6+        d_name

exception_object              3.6+        PyBaseExceptionObject
    args                      3.6+        args

module_object                 3.6-3.9     struct probe_moduleobject
module_object                 3.10+       PyModuleObject
    md_dict                   3.6+        md_dict
    md_name                   3.6+        md_name

range_object                  3.6+        struct probe_rangeobject
    start                     3.6+        start
    stop                      3.6+        stop
    step                      3.6+        step

deque_object                  3.6+        struct probe_dequeobject
    ob_size                   3.6+        ob_base.ob_size
    leftblock                 3.6+        leftblock
    leftindex                 3.6+        leftindex
    maxlen                    3.6+        maxlen

date_object                   3.6+        PyDateTime_Date
    data                      3.6+        data

datetime_object               3.6+        PyDateTime_DateTime
    hastzinfo                 3.6+        hastzinfo
    data                      3.6+        data
    fold                      3.6+        fold
    tzinfo                    3.6+        tzinfo

time_object                   3.6+        PyDateTime_Time
    hastzinfo                 3.6+        hastzinfo
    data                      3.6+        data
    fold                      3.6+        fold
    tzinfo                    3.6+        tzinfo

timedelta_object              3.6+        PyDateTime_Delta
    days                      3.6+        days
    seconds                   3.6+        seconds
    microseconds              3.6+        microseconds

lock_object                   3.6-3.13    struct probe_lockobject
lock_object                   3.14+       struct probe_mutexobject
    semaphore                 3.6-3.13    lock_lock
    mutex                     3.13        lock_lock
    mutex                     3.14+       lock
    locked                    3.6-3.13    locked

rlock_object                  3.6-3.13    struct probe_rlockobject
rlock_object                  3.14+       struct probe_recursivemutexobject
    semaphore                 3.6-3.13    rlock_lock
    mutex                     3.14+       lock.mutex
    owner                     3.6-3.13    rlock_owner
    owner                     3.14+       lock.thread
    count                     3.6-3.13    rlock_count
    level                     3.14+       lock.level

llist_node                    3.14+       struct llist_node
    next                      3.14+       next
    prev                      3.14+       prev
"""

# The headers that declare the above, by version. Before 3.7 everything is in the public ones.
HEADERS = (
    ("3.6+", "Python.h"),
    ("3.6+", "datetime.h"),
    ("3.6-3.10", "frameobject.h"),
    ("3.7", "internal/pystate.h"),
    ("3.8", "internal/pycore_pystate.h"),
    ("3.9+", "internal/pycore_interp.h"),
    ("3.9+", "internal/pycore_runtime.h"),
    ("3.10+", "internal/pycore_moduleobject.h"),
    ("3.11+", "internal/pycore_frame.h"),
    ("3.11+", "internal/pycore_dict.h"),
    ("3.11+", "internal/pycore_gil.h"),
    ("3.12+", "internal/pycore_long.h"),
    ("3.13+", "internal/pycore_tstate.h"),
    ("3.14+", "internal/pycore_interpframe_structs.h"),
)

# Structures that no installed header has: the order and types of their members are stated here.
# Objects/dict-common.h of 3.6 to 3.10 (dk_indices was a union in 3.6, of the same place),
# Objects/moduleobject.c of 3.6 to 3.9, Objects/rangeobject.c, Modules/_collectionsmodule.c,
# Modules/_threadmodule.c; _PyRecursiveMutex is in pycore_lock.h of 3.13 and later.
UNINSTALLED_STRUCTS = """
struct probe_dictkeysobject {
    Py_ssize_t dk_refcnt;
    Py_ssize_t dk_size;
    void *dk_lookup;
    Py_ssize_t dk_usable;
    Py_ssize_t dk_nentries;
    char dk_indices[];
};
struct probe_moduleobject {
    PyObject ob_base;
    void *md_dict;
    void *md_def;
    void *md_state;
    void *md_weaklist;
    void *md_name;
};
struct probe_rangeobject {
    PyObject ob_base;
    void *start;
    void *stop;
    void *step;
    void *length;
};
struct probe_dequeobject {
    PyVarObject ob_base;
    void *leftblock;
    void *rightblock;
    Py_ssize_t leftindex;
    Py_ssize_t rightindex;
    size_t state;
    Py_ssize_t maxlen;
    void *weakreflist;
};
struct probe_lockobject {
    PyObject ob_base;
    void *lock_lock;
    void *in_weakreflist;
    char locked;
};
struct probe_mutexobject {
    PyObject ob_base;
    unsigned char lock;
};
struct probe_rlockobject {
    PyObject ob_base;
    void *rlock_lock;
    unsigned long rlock_owner;
    unsigned long rlock_count;
};
struct probe_recursivemutexobject {
    PyObject ob_base;
    struct {
        unsigned char mutex;
        unsigned long long thread;
        size_t level;
    } lock;
};
"""

SIZE = "struct_size"

# The ends of these structures vary inside one minor version: with the patch level (PyThreadState
# grew in 3.13), with Py_DEBUG, Py_STATS and the JIT (_Py_TIER2). Nothing there is read. The
# smallest size seen is recorded, and the difference alone makes no column of its own.
VARYING_SIZES = {
    (section, SIZE) for section in ("runtime_state", "interpreter_state", "thread_state")
}

# The architectures known, with their enumerators in layout_table.h. Rows are written out for the
# first, and for another only where it differs: in what contains pthread's mutexes and conditions.
ARCHITECTURES = {"x86_64": "kX86_64", "aarch64": "kAArch64"}
REFERENCE = "x86_64"

HEADER = """\
// Offsets of CPython's structures, by field and kind of interpreter.
// Written by tools/generate_layouts.py out of CPython's headers: do not edit.
//
// A column is a range of versions (its name in the heads below: t = free-threaded, r = release
// only, d = debug only, neither = both alike):
//   LAYOUT_COLUMN(first minor, last minor, free-threaded, release, debug)
// A row is a field of layout_fields.def, one value for each column, `no` where it does not exist:
//   LAYOUT_ROW(section, field, ...)
// A row that another architecture than x86-64 has differently follows as
//   LAYOUT_ROW_ON(architecture, section, field, ...)
// Includers define the three, and this file undefines them.
"""


class GeneratorError(Exception):
    """Something the user has to change: missing headers, or a probe that does not compile."""


@dataclass(frozen=True)
class Versions:
    """A range of minor versions of Python 3, both ends included."""

    first: int
    last: int
    free_threaded_only: bool = False

    @staticmethod
    def parse(text: str) -> Versions:
        match = re.fullmatch(r"3\.(\d+)(t?)(?:(\+)|-3\.(\d+))?", text)
        if not match:
            raise ValueError(f"not a version range: {text!r}")
        first = int(match[1])
        last = LAST_MINOR if match[3] else int(match[4] or first)
        return Versions(first, last, bool(match[2]))


@dataclass(frozen=True)
class Build:
    """One kind of interpreter: the key of a column."""

    architecture: str
    minor: int
    free_threaded: bool
    debug: bool

    def has(self, versions: Versions) -> bool:
        in_range = versions.first <= self.minor <= versions.last
        return in_range and (self.free_threaded or not versions.free_threaded_only)

    def name(self) -> str:
        free_threaded = "t" if self.free_threaded else ""
        return f"3.{self.minor}{free_threaded}{'d' if self.debug else ''} {self.architecture}"


# (section, field) -> value; a field that the build does not have is missing.
Offsets = dict[tuple[str, str], int]


def parse_fields_def() -> list[tuple[str, list[str]]]:
    """The sections of layout_fields.def with their fields, in its order."""
    sections: list[tuple[str, list[str]]] = []
    for line in FIELDS_DEF.read_text(encoding="utf-8").splitlines():
        if match := re.match(r"PYSTACK_LAYOUT_SECTION\((\w+)\)", line):
            sections.append((match[1], []))
        elif match := re.match(r"PYSTACK_LAYOUT_FIELD\((\w+), (\w+)", line):
            if match[1] != sections[-1][0]:
                raise GeneratorError(f"{FIELDS_DEF.name}: {match[2]} is in the wrong section")
            sections[-1][1].append(match[2])
    return sections


def parse_members() -> dict[tuple[str, str], list[tuple[Versions, str]]]:
    """MEMBERS as (section, field) -> (versions, member); the field SIZE holds the C types."""
    members: dict[tuple[str, str], list[tuple[Versions, str]]] = {}
    section = ""
    for line in MEMBERS.splitlines():
        if not line:
            continue
        name, versions, what = line.split(maxsplit=2)
        if not line.startswith(" "):
            section, name = name, SIZE
        members.setdefault((section, name), []).append((Versions.parse(versions), what))
    return members


def check_members_cover_fields() -> None:
    """Every field of layout_fields.def has a line in MEMBERS and the other way round."""
    declared = {
        (section, name) for section, fields in parse_fields_def() for name in (SIZE, *fields)
    }
    difference = declared ^ set(parse_members())
    if difference:
        names = ", ".join(sorted(f"{section}.{name}" for section, name in difference))
        raise GeneratorError(f"in only one of {FIELDS_DEF.name} and MEMBERS: {names}")


def expressions(build: Build) -> dict[tuple[str, str], str]:
    """The C expression of every field that the build has."""
    members = parse_members()
    found: dict[tuple[str, str], str] = {}
    types = {
        section: what
        for (section, name), lines in members.items()
        if name == SIZE
        for versions, what in lines
        if build.has(versions)
    }
    for (section, name), lines in members.items():
        for versions, what in lines:
            if not build.has(versions):
                continue
            if name == SIZE:
                found[section, name] = f"sizeof({what})"
            elif what.startswith("="):
                found[section, name] = what[1:]
            else:
                found[section, name] = f"offsetof({types[section]}, {what})"
    return found


def probe_source(build: Build) -> str:
    lines = [f'#include "{header}"' for text, header in HEADERS if build.has(Versions.parse(text))]
    lines += ["#include <stddef.h>", UNINSTALLED_STRUCTS, "void probe(void) {"]
    # As the Linux kernel's asm-offsets: constants end up as text in the assembly.
    lines += [
        f'    __asm__ volatile("\\n@probe {section}.{name} %c0" : : "i"({expression}));'
        for (section, name), expression in expressions(build).items()
    ]
    return "\n".join([*lines, "}", ""])


def run_probe(build: Build, include: Path, compiler: str) -> Offsets:
    with tempfile.TemporaryDirectory() as alias:
        command = [compiler, "-std=gnu11", "-w", "-O0", "-S", "-x", "c", "-", "-o", "-"]
        command += ["-I", str(include), "-I", str(include / "internal")]
        # Debian's pyconfig.h includes the real one out of the directory of the architecture, beside
        # it. Those of the 64-bit Linux architectures agree in every size that matters here.
        command += ["-idirafter", str(include.parent), "-idirafter", alias]
        for real in include.parent.glob(f"*-linux-gnu/{include.name}"):
            Path(alias, f"{build.architecture}-linux-gnu").symlink_to(real.parent)
            break
        command += ["-DPy_BUILD_CORE=1", "-DPy_DEBUG=1" if build.debug else "-DNDEBUG=1"]
        if build.free_threaded:
            command.append("-DPy_GIL_DISABLED=1")
        result = subprocess.run(
            command, input=probe_source(build), capture_output=True, text=True, check=False
        )
    if result.returncode != 0:
        errors = "\n".join(result.stderr.splitlines()[:12])
        raise GeneratorError(f"the probe for {build.name()} does not compile:\n{errors}")
    offsets: Offsets = {}
    for match in re.finditer(r"^@probe (\w+)\.(\w+) (\d+)$", result.stdout, re.MULTILINE):
        offsets[match[1], match[2]] = int(match[3])
    if len(offsets) != len(expressions(build)):
        raise GeneratorError(f"the probe for {build.name()} did not print every field")
    return offsets


def header_version(include: Path) -> int | None:
    """The minor version of Python 3 whose headers are in `include`, None if they are of another."""
    try:
        text = (include / "patchlevel.h").read_text(encoding="utf-8")
    except OSError:
        return None
    numbers = re.findall(r"#define\s+PY_(?:MAJOR|MINOR)_VERSION\s+(\d+)", text)
    if len(numbers) != 2 or numbers[0] != "3":
        return None
    minor = int(numbers[1])
    return minor if FIRST_MINOR <= minor <= LAST_MINOR else None


def default_includes() -> list[Path]:
    """Where pyenv and the Debian root of the test interpreters keep headers."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    patterns = (
        (pyenv, "versions/*/include/python3.*"),
        (cache, "pystack-tests/sid/usr/include/python3.*"),
    )
    found = [path for base, pattern in patterns for path in sorted(base.glob(pattern))]
    # A "d" directory holds links to the release headers: -DPy_DEBUG makes the same difference.
    return [path for path in found if not path.name.endswith("d")]


def builds_of(minor: int, architecture: str) -> list[Build]:
    kinds = [(False, False), (False, True)]
    if minor >= FIRST_FREE_THREADED_MINOR:
        kinds += [(True, False), (True, True)]
    return [Build(architecture, minor, free_threaded, debug) for free_threaded, debug in kinds]


def differences(one: Offsets, other: Offsets) -> list[str]:
    return sorted(
        f"{section}.{name}"
        for section, name in set(one) | set(other)
        if one.get((section, name)) != other.get((section, name))
        and (section, name) not in VARYING_SIZES
    )


def smallest(one: Offsets, other: Offsets) -> Offsets:
    """`one` with the smaller of the two in every size that is allowed to differ."""
    return one | {key: min(one[key], other[key]) for key in VARYING_SIZES & set(one)}


def probe_all(includes: list[Path], compilers: dict[str, str]) -> dict[Build, Offsets]:
    probed: dict[Build, Offsets] = {}
    source: dict[Build, Path] = {}
    for include in includes:
        minor = header_version(include)
        if minor is None:
            continue
        for architecture, compiler in compilers.items():
            for build in builds_of(minor, architecture):
                offsets = run_probe(build, include, compiler)
                before = probed.setdefault(build, offsets)
                if fields := differences(before, offsets):
                    raise GeneratorError(
                        f"{build.name()}: {source[build]} and {include} differ in "
                        f"{', '.join(fields)}: patch releases need columns of their own"
                    )
                probed[build] = smallest(before, offsets)
                source.setdefault(build, include)
    return probed


@dataclass(frozen=True)
class Column:
    """Builds with the same offsets: a range of versions, and release, debug or both."""

    first: int
    last: int
    free_threaded: bool
    release: bool
    debug: bool

    def contains(self, build: Build) -> bool:
        return (
            self.first <= build.minor <= self.last
            and build.free_threaded == self.free_threaded
            and (self.debug if build.debug else self.release)
        )

    def name(self) -> str:
        last = f"-3.{self.last}" if self.last != self.first else ""
        kind = "" if self.release and self.debug else "d" if self.debug else "r"
        return f"3.{self.first}{last}{'t' if self.free_threaded else ''}{kind}"


# What a column holds: the offsets by architecture.
Values = dict[str, Offsets]


def equal(one: Values, other: Values) -> bool:
    return one.keys() == other.keys() and not any(differences(one[a], other[a]) for a in one)


def merge(probed: dict[Build, Offsets]) -> list[tuple[Column, Values]]:
    """One column for each group of equal builds: release with debug, then neighbour versions."""
    by_kind: dict[tuple[bool, int, bool], Values] = {}
    for build in sorted(probed, key=lambda b: (b.free_threaded, b.minor, b.debug)):
        kind = (build.free_threaded, build.minor, build.debug)
        by_kind.setdefault(kind, {})[build.architecture] = probed[build]

    columns: list[tuple[Column, Values]] = []
    for (free_threaded, minor, debug), values in by_kind.items():
        if columns and debug and equal(columns[-1][1], values):
            column, before = columns[-1]
            joined = {a: smallest(before[a], values[a]) for a in values}
            columns[-1] = (replace(column, debug=True), joined)
        else:
            column = Column(minor, minor, free_threaded, release=not debug, debug=debug)
            columns.append((column, values))

    merged: list[tuple[Column, Values]] = []
    for column, values in columns:
        if merged:
            before_column, before = merged[-1]
            extended = replace(before_column, last=column.last)
            follows = before_column.last + 1 == column.first
            if follows and extended == replace(column, first=extended.first) and before == values:
                merged[-1] = (extended, before)
                continue
        merged.append((column, values))
    return merged


def cell(key: tuple[str, str], offsets: Offsets) -> str:
    absent = "0" if key[1] == SIZE else "no"
    return str(offsets[key]) if key in offsets else absent


def render(columns: list[tuple[Column, Values]]) -> str:
    names = [column.name() for column, _ in columns]
    lines = [HEADER]
    for column, _ in columns:
        flags = ", ".join(
            str(flag).lower() for flag in (column.free_threaded, column.release, column.debug)
        )
        lines.append(f"LAYOUT_COLUMN({column.first}, {column.last}, {flags})")

    def row(label: str, cells: list[str]) -> str:
        return f"{label:<68}" + ", ".join(f"{text:>6}" for text in cells)

    for section, fields in parse_fields_def():
        lines += ["", row(f"// {section}", names).replace(",", " ")]
        for name in (SIZE, *fields):
            key = (section, name)
            cells = [cell(key, values[REFERENCE]) for _, values in columns]
            lines.append(row(f"LAYOUT_ROW({section}, {name},", cells) + ")")
            for architecture, enumerator in ARCHITECTURES.items():
                own = [cell(key, values[architecture]) for _, values in columns]
                if own != cells:
                    label = f"LAYOUT_ROW_ON({enumerator}, {section}, {name},"
                    lines.append(row(label, own) + ")")
    lines += ["", "#undef LAYOUT_COLUMN", "#undef LAYOUT_ROW"]
    lines += ["#undef LAYOUT_ROW_ON", ""]
    return "\n".join(lines)


def parse(text: str) -> list[tuple[Column, Values]]:
    """The inverse of render()."""
    columns = [
        Column(int(m[1]), int(m[2]), m[3] == "true", m[4] == "true", m[5] == "true")
        for m in re.finditer(
            r"^LAYOUT_COLUMN\((\d+), (\d+), (\w+), (\w+), (\w+)\)$", text, re.MULTILINE
        )
    ]
    values: list[Values] = [{a: {} for a in ARCHITECTURES} for _ in columns]
    enumerators = {enumerator: a for a, enumerator in ARCHITECTURES.items()}
    pattern = r"^LAYOUT_ROW(?:_ON\((\w+), |\()(\w+), (\w+),(.*)\)$"
    for match in re.finditer(pattern, text, re.MULTILINE):
        key = (match[2], match[3])
        for value, entry in zip(values, match[4].split(","), strict=True):
            for architecture in [enumerators[match[1]]] if match[1] else ARCHITECTURES:
                value[architecture].pop(key, None)
                if entry.strip() not in ("no", "0" if key[1] == SIZE else "no"):
                    value[architecture][key] = int(entry)
    return list(zip(columns, values, strict=True))


def check(columns: list[tuple[Column, Values]], probed: dict[Build, Offsets]) -> list[str]:
    """What the committed columns say differently from the headers, one line each."""
    problems: list[str] = []
    for build, offsets in probed.items():
        committed = [v[build.architecture] for column, v in columns if column.contains(build)]
        if len(committed) != 1:
            problems.append(f"{build.name()}: {len(committed)} columns instead of one")
            continue
        problems += [f"{build.name()}: {field}" for field in differences(committed[0], offsets)]
        problems += [
            f"{build.name()}: {section}.{name} is larger than in the headers"
            for section, name in sorted(VARYING_SIZES & set(offsets))
            if committed[0].get((section, name), 0) > offsets[section, name]
        ]
    return problems


def default_compilers() -> dict[str, str]:
    """A C compiler for each architecture: the host's own, and cross compilers named as Debian's."""
    found: dict[str, str] = {}
    for architecture in ARCHITECTURES:
        native = architecture == platform.machine()
        for name in (["cc", "gcc"] if native else []) + [f"{architecture}-linux-gnu-gcc"]:
            if shutil.which(name):
                found.setdefault(architecture, name)
    return found


def require_everything(probed: dict[Build, Offsets]) -> None:
    for architecture in ARCHITECTURES:
        for minor in range(FIRST_MINOR, LAST_MINOR + 1):
            if Build(architecture, minor, free_threaded=False, debug=False) not in probed:
                raise GeneratorError(
                    f"no headers of Python 3.{minor}, or no compiler for {architecture}: "
                    "name them with --include and --compiler"
                )


def main() -> int:
    description = (__doc__ or "").split("\n\n", 1)[0]
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--check", action="store_true", help="compare only, with what there is")
    parser.add_argument(
        "--include",
        action="append",
        type=Path,
        metavar="DIR",
        help="a directory with CPython's headers (repeatable; default: those of pyenv and of "
        "the test root)",
    )
    parser.add_argument(
        "--compiler",
        action="append",
        default=[],
        metavar="ARCHITECTURE=COMMAND",
        help="the C compiler for an architecture (repeatable)",
    )
    arguments = parser.parse_args()
    compilers = default_compilers() | dict(c.split("=", 1) for c in arguments.compiler)
    try:
        if unknown := sorted(set(compilers) - set(ARCHITECTURES)):
            raise GeneratorError(f"unknown architecture: {unknown[0]}")
        check_members_cover_fields()
        probed = probe_all(arguments.include or default_includes(), compilers)
        if arguments.check:
            columns = parse(OUTPUT.read_text(encoding="utf-8"))
            problems = check(columns, probed)
            for problem in problems:
                print(problem, file=sys.stderr)
            print(f"{len(probed)} builds compared, {len(problems)} differences")
            return 1 if problems else 0
        require_everything(probed)
        OUTPUT.write_text(render(merge(probed)), encoding="utf-8")
    except GeneratorError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
