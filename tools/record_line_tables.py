"""Records what CPython says about its own line tables, for the test of cpp/cpython/frames/line_table.

    tools/record_line_tables.py                         writes the fixtures: one file a version
    tools/record_line_tables.py --stdlib --output DIR   whole standard libraries, for a big check

The second kind is checked by the C++ test of line_table with PYSTACK_LINE_TABLE_RECORDS=DIR.

The same file runs inside every interpreter from 3.6 on (`--worker`, given on standard input, as a
chroot does not see this checkout), compiles sources, and writes one record a code object:

    table FORMAT FIRST_LINE HEX      the format's name as in `LineTableFormat`, the table's bytes
    UNITS LINE END_LINE COLUMN END   so many code units from where the last line ended; "-" is None

Up to 3.10 the lines are those of the interpreter's own PyCode_Addr2Line, the function behind
`f_lineno`; from 3.11 on they are `co_positions()`, checked against PyCode_Addr2Line.
"""

# ruff: noqa: UP036 (it runs on versions below those of the tool)

import argparse
import ast
import ctypes
import os
import subprocess
import sys
import types
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

CODE_UNIT_BYTES = 2

# Every construct that has made some version of the compiler write an unusual entry.
CRAFTED = '''"""Docstring over
two lines."""
import sys, \\
    os
@staticmethod
def multi_line(first, second=1, *rest, key=None,
               **more):
    return sys.intern(
        str(
            first + second
            - (
                key

                or 0
            )
        )
    ).join(
        str(r) for r in rest if r
        if r > 1
    )
class Decorated(
    Exception,
):
    """Doc."""
    attribute: int = 1
    @property
    @staticmethod
    def method(self): return [
        (a, b) for a in range(3)
        for b in {c: c for c in range(a)}
    ]
    def generator(self):
        with open("x") as f, \\
             open("y"):
            x = yield f
            yield from (
                y for y in x)
        return
    async def coroutine(self):
        async with self as s:
            async for i in s:
                await i
        return [j async for j in s]
def tried(x):
    try:
        try:
            x()
        except (KeyError,
                ValueError) as e:
            raise RuntimeError from e
        else:
            return 1
        finally:
            x(2)
    except Exception:
        pass
    finally:
        for i in range(10):
            if i: continue
            break
        else:
            x = 4
    while True:
        if x:
            break
def lines_without_number(a, b, c):
    if a:
        if b:
            x = 1
        else:
            x = 2
    elif c:
        pass
    with a:
        if b: return
    for i in a:
        if i: return i
    del x
umlaute = "äöü" + str("日本語", ("😀😀" if umlaute else sys)).encode(é.ü)
lambda x: (lambda y: y +
           x)
nested = {"a": [1,
                2, *range(3)], "b": f"{sys.path!r:>{10}} {sys.version}"}
'''

MATCH = """
def matching(value):
    match value:
        case {"a": [x, *_], **rest} if x > 1:
            return x
        case int() | str():
            return (
                value
            )
        case _:
            return None
"""

WALRUS = """
def walrus(a, /, b):
    if (n := len(a)) > 10 and \\
       (m := n):
        return f"{n=} {m}"
"""


def crafted_sources() -> "Iterator[str]":
    yield CRAFTED
    if sys.version_info >= (3, 8):
        yield WALRUS
    if sys.version_info >= (3, 10):
        yield MATCH
    # Jumps past what one entry can say, forward and back, and long code without a new line.
    counts = (1, 126, 127, 128, 129, 254, 255, 256, 700)
    gaps = [
        f"    a(\n{newlines}    b,\n    c)\n" for newlines in ("\n" * count for count in counts)
    ]
    yield "def gaps(a, b, c):\n" + "".join(gaps)
    yield "def long_line(a):\n    return " + " + ".join(f"a[{i}]" for i in range(60)) + "\n"
    yield "def long_block(a):\n" + "".join(f"    a.x{i} = {i % 300}\n" for i in range(140))
    yield "x = [\n" + "".join(f"  f({i}),\n" for i in range(40)) + "]\n"
    nested = "".join("  " * (depth + 1) + "if a:\n" for depth in range(18))
    yield f"def deep(a):\n{nested}{'  ' * 20}a()\n"


def moved_trees() -> "Iterator[ast.Module]":
    """Trees whose lines no text would have: far away, and running backwards."""
    # Below 3.11 a far line is a chain of entries of 127 lines each.
    for offset in (1000, 100000, 2000000 if sys.version_info >= (3, 11) else 30000):
        tree = ast.parse("def f(a):\n    return (a +\n        a.b)\n")
        ast.increment_lineno(tree, offset)
        yield tree
    tree = ast.parse("def f(a):\n" + "".join(f"    a({i})\n" for i in range(12)))
    function = tree.body[0]
    assert isinstance(function, ast.FunctionDef)
    for number, statement in enumerate(function.body):
        line = 5000 - number * 131
        for node in ast.walk(statement):
            if isinstance(node, (ast.stmt, ast.expr)):
                node.lineno = line
                if sys.version_info >= (3, 8):
                    node.end_lineno = line + number * 37
                    node.col_offset = number * 40
                    node.end_col_offset = number * 90
    yield tree


def stdlib_sources() -> "Iterator[bytes]":
    for file in sorted(Path(os.__file__).parent.rglob("*.py")):
        if not {"site-packages", "dist-packages"} & set(file.parts):
            yield file.read_bytes()


def code_objects(code: types.CodeType) -> "Iterator[types.CodeType]":
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from code_objects(constant)


def line_by_interpreter(code: types.CodeType, offset: int) -> "int | None":
    line: int = ctypes.pythonapi.PyCode_Addr2Line(ctypes.py_object(code), offset)
    return None if line < 0 else line


def positions(code: types.CodeType) -> "list[tuple[int | None, ...]]":
    """One (line, end line, column, end column) a code unit."""
    units = len(code.co_code) // CODE_UNIT_BYTES
    lines = [line_by_interpreter(code, unit * CODE_UNIT_BYTES) for unit in range(units)]
    if sys.version_info < (3, 11):
        return [(line, None, None, None) for line in lines]
    found = list(code.co_positions())
    if [position[0] for position in found] != lines:
        raise AssertionError(f"co_positions() and PyCode_Addr2Line differ in {code!r}")
    return found


def table_of(code: types.CodeType) -> "tuple[str, bytes]":
    if sys.version_info >= (3, 11):
        return "kLocations311", code.co_linetable
    if sys.version_info >= (3, 10):
        return "kLineTable310", code.co_linetable
    return "kLnotab", code.co_lnotab


def write_records(codes: "Iterable[types.CodeType]", stream: TextIO) -> None:
    seen = set()
    for code in codes:
        expected = positions(code)
        name, table = table_of(code)
        key = (table, code.co_firstlineno, len(expected))
        if key in seen:
            continue
        seen.add(key)
        stream.write(f"table {name} {code.co_firstlineno} {table.hex() or '-'}\n")
        start = 0
        for end in range(1, len(expected) + 1):
            if end == len(expected) or expected[end] != expected[start]:
                values = ["-" if value is None else str(value) for value in expected[start]]
                stream.write(f"{end - start} {' '.join(values)}\n")
                start = end


def compiled(stdlib: bool) -> "Iterator[types.CodeType]":
    crafted: Iterable[str | ast.Module] = [*crafted_sources(), *moved_trees()]
    for source in stdlib_sources() if stdlib else crafted:
        try:
            module = compile(source, "recorded", "exec", dont_inherit=True)
        except (SyntaxError, ValueError):  # test data of the standard library
            if not stdlib:
                raise
            continue
        yield from code_objects(module)


def record_all(output: Path, stdlib: bool) -> None:
    # Found next to this file, which the worker on standard input is not.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    import interpreters
    from targets import target_environment

    output.mkdir(parents=True, exist_ok=True)
    recorded = set()
    for interpreter in interpreters.available():
        minor = f"{interpreter.version[0]}.{interpreter.version[1]}"
        if interpreter.jit or (not stdlib and minor in recorded):
            continue
        recorded.add(minor)
        command = interpreter.command("-", "--worker", *(["--stdlib"] if stdlib else []))
        environment = {**target_environment(), "PYTHONIOENCODING": "utf-8"}
        file = output / f"{interpreter.name if stdlib else minor}.txt"
        with Path(__file__).open("rb") as script, file.open("wb") as records:
            subprocess.run(command, stdin=script, stdout=records, env=environment, check=True)
        print(f"{file}: {file.stat().st_size} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description="Records line tables for the tests of line_table.")
    parser.add_argument("--stdlib", action="store_true", help="the standard library of each")
    parser.add_argument("--output", type=Path, help="the folder to write to")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        warnings.simplefilter("ignore")
        write_records(compiled(arguments.stdlib), sys.stdout)
    elif arguments.stdlib and arguments.output is None:
        parser.error("--stdlib needs --output")
    else:
        fixtures = Path(__file__).resolve().parent.parent / "tests/cpp/support/fixtures/line_tables"
        record_all(arguments.output or fixtures, arguments.stdlib)


if __name__ == "__main__":
    main()
