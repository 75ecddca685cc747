"""What the interpreter's tables call its C functions, against the symbols of these functions.

A function has the name that a table gives to its address. Where that name and the symbol contradict
each other the table was misread, or the function is not that one alone.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import pytest

from cpp_programs import run_lines
from interpreters import required
from marks import each_of
from targets import Interpreter

pytestmark = pytest.mark.live

WITH_SYMBOLS = [one for one in required() if not one.stripped]

#: Modules in C, so that there are many tables.
PROGRAM = '''
import asyncio, sys
for name in """
    _bisect _collections _csv _ctypes _datetime _decimal _functools _hashlib _heapq _io _json
    _lsprof _operator _pickle _queue _random _socket _sqlite3 _sre _ssl _struct _thread _weakref
    array binascii itertools math mmap pyexpat select time unicodedata zlib
""".split():
    try:
        __import__(name)
    except ImportError:
        pass
print("ready", flush=True)
sys.stdin.readline()
'''

#: What symbols have instead of the name of a special method, or with it.
WORDS = {
    "__add__": {"concat", "plus"},
    "__and__": {"intersection"},
    "__bool__": {"nonzero"},
    "__contains__": {"has_key"},
    "__del__": {"finalize"},
    "__floordiv__": {"div"},
    "__getattribute__": {"getattr"},
    "__getitem__": {"item", "subscript", "slice"},
    "__iadd__": {"concat", "extend"},
    "__imod__": {"remainder"},
    "__imul__": {"repeat"},
    "__ior__": {"or", "update", "union"},
    "__iand__": {"intersection"},
    "__isub__": {"difference"},
    "__ixor__": {"xor", "symmetric"},
    "__int__": {"long", "trunc"},
    "__iter__": {"self", "keys"},
    "__len__": {"size", "length", "count"},
    "__length_hint__": {"len"},
    "__mod__": {"rem", "divmod"},
    "__mul__": {"repeat", "multiply", "times"},
    "__neg__": {"minus"},
    "__new__": {"vectorcall", "make"},
    "__or__": {"union"},
    "__pos__": {"plus", "copy"},
    "__reduce__": {"pickle", "getstate"},
    "__reduce_ex__": {"reduce"},
    "__repr__": {"str", "string"},
    "__setattr__": {"setattr"},
    "__setitem__": {"ass_", "set"},
    "__sub__": {"diff", "minus"},
    "__str__": {"repr", "string"},
    "__truediv__": {"div"},
    "__copy__": {"self"},
    "__deepcopy__": {"self", "copy"},
    "__xor__": {"symmetric"},
}
#: What the names of attributes begin with, and those of their functions do not.
PREFIXES = re.compile(r"^(ag|co|cr|f|gi|tb|m|openssl|_asyncio_future)_|^_+")
#: What libmpdec calls the operations of `decimal`.
DECIMAL = {
    "adjusted": "adjexp",
    "create_decimal_from_float": "fromfloat",
    "divide": "qdiv",
    "divide_int": "qdivint",
    "logical_and": "qand",
    "logical_invert": "qinvert",
    "logical_or": "qor",
    "logical_xor": "qxor",
    "multiply": "qmul",
    "normalize": "qreduce",
    "number_class": "class",
    "power": "qpow",
    "remainder": "qrem",
    "remainder_near": "qremnear",
    "rounding": "round",
    "subtract": "qsub",
    "to_eng_string": "toeng",
    "to_integral": "roundtoint",
    "to_integral_exact": "roundtointx",
    "to_sci_string": "tosci",
    "getcontext": "getcurrentcontext",
    "setcontext": "setcurrentcontext",
    "localcontext": "ctxmanager",
}
#: Functions that CPython's sources call otherwise than Python does: the symbol, by the name.
KNOWN = {
    "BaseException.__traceback__": "BaseException_.et_tb",
    "ContextVar.__class_getitem__": "contextvar_cls_getitem",
    "OSError.characters_written": "OSError_written_.et",
    "_ctypes._SimpleCData.__ctypes_from_outparam__": "Simple_from_outparm",
    "_ctypes.alignment": "align_func",
    "_hashlib.hmac_digest": "_hashlib_hmac_singleshot",
    "_pickle.Pickler.persistent_id": "Pickler_.et_persid",
    "_pickle.Unpickler.persistent_load": "Unpickler_.et_persload",
    "_sqlite3.complete_statement": "module_complete",
    "_sqlite3.enable_callback_tracebacks": "pysqlite_enable_callback_trace",
    "array.array.__getitem__": "array_subscr",
    "cell.cell_contents": "cell_.et_contents",
    # One function for two that are equal, which GCC has found out.
    "complex.__pos__": "complex___complex___impl",
    "code._co_code_adaptive": "code_getcodeadaptive",
    "collections.deque.__reversed__": "deque_reviter",
    # 3.6 has it in its table of methods, too, for the sake of its description.
    "collections.OrderedDict.__delitem__": "odict_mp_ass_sub",
    "float.__pos__": "float_float",
    "float.imag": "float_getzero",
    "float.real": "float_float",
    "int.denominator": "long_get1",
    "int.imag": "long_get0",
    "int.conjugate": "long_long_meth",
    "int.real": "long_long(_meth|_getter)?",
    "range.__reversed__": "range_reverse",
    "sqlite3.Connection.__text_signature__": "get_sig",
    # One function for two methods that do nothing: it has the name of the shorter.
    "sqlite3.Cursor.setinputsizes": "pysqlite_noop",
    "types.GenericAlias.__typing_unpacked_tuple_args__": "ga_unpacked_tuple_args",
}


def pairs(pid: int) -> Iterator[tuple[str, str]]:
    """The name in Python, and the symbol."""
    [line] = run_lines("print_function_names", lines=[str(pid)])
    for pair in line.split("\t")[:-1]:
        name, _, symbol = pair.partition("=")
        yield name, symbol


def plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def agree(name: str, symbol: str) -> bool:
    """Whether the symbol has in its name what Python calls the function, or a word for it."""
    whole = plain(symbol.partition(".")[0])
    for one in name.split(" or "):
        owner, _, method = one.rpartition(".")
        words = {method, PREFIXES.sub("", method), *WORDS.get(method, ())}
        if "decimal" in owner:
            words.add(DECIMAL.get(method, method))
        if method == "__new__":  # Argument Clinic: `itertools_count`.
            words.add(owner.rpartition(".")[2])
        if one in KNOWN and re.fullmatch(KNOWN[one], symbol.partition(".")[0]):
            return True
        if any(plain(word) in whole for word in words):
            return True
    return False


@each_of(WITH_SYMBOLS)
def test_tables_and_symbols_agree(interpreter: Interpreter) -> None:
    with interpreter.spawn(
        ["-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as target:
        assert target.process.stdout is not None
        assert target.process.stdout.readline() == b"ready\n"
        found = list(pairs(target.pid))
    assert len(found) > 1000
    assert [one for one in found if not agree(*one)] == []
