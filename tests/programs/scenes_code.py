"""Code that no plain source file makes: exec and eval, huge functions, frames, tables, and tables
without lines."""

import sys

from _truth import scene, skip


@scene
def exec_and_eval(gate):
    def function():
        return eval("[gate.wait() for _ in '1']", {"gate": gate})

    exec("result = function()", {"function": function})


@scene
def exec_with_one_line(gate):
    exec("gate.wait()")


@scene
def lines_far_away(gate):
    """Line numbers near the end of what the tables can say, and steps larger than one table entry
    holds."""
    lines = ["def far(gate):", "\n" * 70000, "    x = 1", "\n" * 500, "    gate.wait()"]
    source = "\n".join(lines + ["\n" * 40000, "    x = 2", ""])
    namespace = {}
    exec(compile(source, "far-away.py", "exec"), namespace)
    namespace["far"](gate)


@scene
def lines_backwards(gate):
    def backwards():
        return [
            2,
            gate.wait(),
        ][0]

    for _ in range(
        backwards(),
    ):
        pass


@scene
def columns_far_away(gate):
    for count in (30, 20000):
        source = "value = [" + "None, " * count + "gate.wait() if number > 30 else 1]\n"
        exec(compile(source, "columns.py", "exec"), {"gate": gate, "number": count})


@scene
def big_function(gate):
    """A line table of more than a page, and jumps that need extended arguments."""
    lines = ["def big(gate, value):"]
    for number in range(3000):
        lines.append("    if value == {0}: value = (value + {0}) % 65536".format(number))
    lines.append("    gate.wait()")
    for number in range(300):
        lines.append("    value += {}".format(number))
    namespace = {}
    exec(compile("\n".join(lines), "big.py", "exec"), namespace)
    namespace["big"](gate, -1)


@scene
def big_frame(gate):
    """More locals than fit in a chunk of the interpreter's frame stack."""

    def leaf():
        gate.wait()

    names = ["local_{}".format(number) for number in range(5000)]
    assignments = ["    {} = 1".format(name) for name in names]
    source = "\n".join(["def big(call):"] + assignments + ["    call()"])
    namespace = {}
    exec(compile(source, "big-frame.py", "exec"), namespace)
    big = namespace["big"]
    big(lambda: big(lambda: big(leaf)))


@scene
def many_arguments(gate):
    names = ["argument_{}".format(number) for number in range(200)]
    definition = "def many({}):\n    gate.wait()\n".format(", ".join(names))
    source = definition + "many({})\n".format(", ".join("1" for _ in names))
    exec(compile(source, "many.py", "exec"), {"gate": gate})


@scene
def one_code_many_functions(gate):
    def make(inner):
        def layer():
            if inner is None:
                gate.wait()
            else:
                inner()

        return layer

    layer = None
    for _ in range(20):
        layer = make(layer)
    layer()


def with_table(table):
    """A function that calls its argument, with `table` as its line table, or None where there is no
    way."""

    def patched(wait):
        wait()

    if callable(table):
        table = table(len(patched.__code__.co_code))
    name = "co_linetable" if sys.version_info >= (3, 10) else "co_lnotab"
    patched.__code__ = patched.__code__.replace(**{name: table, "co_filename": "patched.py"})
    return patched


def entries(code_size, kind, body):
    """A table for 3.11 and later, of entries of one kind, each for eight code units.

    `body(index)` is what follows the first byte."""
    units = code_size // 2
    table = b""
    for index, start in enumerate(range(0, units, 8)):
        table += bytes([0x80 | kind << 3 | (min(8, units - start) - 1)]) + body(index)
    return table


def no_lines_at_all(code_size):
    if sys.version_info >= (3, 11):
        return entries(code_size, 15, lambda index: b"")
    # Ranges of at most 254 bytes; -128 as the line step: no line.
    return bytes([code_size, 0x80])


def lines_without_columns(code_size):
    """Kind 13 ("line only"): each entry a line further."""
    return entries(code_size, 13, lambda index: bytes([2]))


def long_entries(code_size):
    """Kind 14: a line step of 20 and then of -1, an end line 3 further, columns 4999 and 70000."""
    columns = varint(5000) + varint(70001)
    return entries(code_size, 14, lambda index: bytes([3 if index else 40, 3]) + columns)


def long_entries_without_columns(code_size):
    return entries(code_size, 14, lambda index: bytes([2, 1, 0, 0]))


def varint(value):
    parts = []
    while value >= 64:
        parts.append(0x40 | (value & 63))
        value >>= 6
    return bytes(parts + [value])


if sys.version_info >= (3, 10):

    @scene
    def code_without_lines(gate):
        with_table(no_lines_at_all)(gate.wait)

else:
    skip("code_without_lines", "tables before 3.10 have a line everywhere")

if sys.version_info >= (3, 11):

    @scene
    def code_without_columns(gate):
        with_table(lines_without_columns)(gate.wait)

    @scene
    def code_with_long_entries(gate):
        with_table(long_entries)(gate.wait)

    @scene
    def code_with_long_entries_without_columns(gate):
        with_table(long_entries_without_columns)(gate.wait)

else:
    for name in ("without_columns", "with_long_entries", "with_long_entries_without_columns"):
        skip("code_" + name, "tables before 3.11 have no columns")

if (3, 8) <= sys.version_info < (3, 11):

    @scene
    def code_with_empty_table(gate):
        with_table(b"")(gate.wait)

else:
    skip("code_with_empty_table", "from 3.11 on the interpreter itself does not survive it")
