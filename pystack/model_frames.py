"""The calls in a stack. Part of `pystack.model`, which has all public names."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal, NamedTuple

    from pystack._core import RawFrame, RawGap, RawNativeFrame
    from pystack.literals import NameSource, VariableKind
else:
    from pystack.named_tuple import NamedTuple


class Variable(NamedTuple):
    """An argument or a local variable that has a value. Its texts contain no control characters."""

    name: str
    kind: VariableKind
    #: The value as repr() would write it, made without running code of the target; None if `redacted`.
    value: str | None
    #: The value's class with its module; None if it could not be read or is hidden.
    type: str | None
    #: Whether the value was not read because its name looks secret.
    redacted: bool


class Frame(NamedTuple):
    """One call of Python code.

    Lines count from 1; columns are UTF-8 byte offsets from 0, as in `co_positions()`.
    """

    kind: Literal["python"]
    #: `co_name`.
    function: str
    #: `co_qualname`; None below 3.11.
    qualname: str | None
    #: `co_filename`, as the target has it: a path in the target's own file system, or relative.
    file: str
    #: None if the compiler recorded no line.
    line: int | None
    #: The running expression, `line`:`column` to `end_line`:`end_column`; None below 3.11.
    end_line: int | None
    column: int | None
    end_column: int | None
    first_line: int
    #: Arguments in the order of the signature, then the others; None if they were not requested.
    variables: tuple[Variable, ...] | None = None
    #: How many variables were left out.
    variables_omitted: int = 0
    #: Why variables are missing.
    variables_problem: str | None = None
    #: The interpreter that runs this frame, if it is not the thread's.
    interpreter_id: int | None = None

    @classmethod
    def from_raw(cls, raw: RawFrame) -> Frame:
        """Converts from the mapping of the C++ core."""
        fields: dict[str, Any] = dict(raw)
        if raw["variables"] is not None:
            fields["variables"] = tuple([Variable(**one) for one in raw["variables"]])
        return cls(**fields)

    def to_json_dict(self) -> dict[str, Any]:
        """The object in the JSON output."""
        fields = self._asdict()
        if self.variables is not None:
            fields["variables"] = [variable._asdict() for variable in self.variables]
        if self.interpreter_id is None:
            del fields["interpreter_id"]
        return fields

    @property
    def name(self) -> str:
        """The qualified name if the Python version has one, else the plain name."""
        return self.function if self.qualname is None else self.qualname


class NativeFrame(NamedTuple):
    """One call of compiled code. Present only if native frames were requested."""

    kind: Literal["native"]
    #: The short name, without parameters. Without a symbol it is "module+0xoffset", never the name of
    #: a neighbour.
    function: str
    #: Its name in Python, such as "list.sort", from the interpreter's own tables of functions.
    python_name: str | None
    #: With parameters and template arguments; equal to `function` in C.
    signature: str
    #: The mangled name, as in the symbol table.
    symbol: str | None
    #: The source of `function`.
    name_source: NameSource
    #: From the debug information.
    file: str | None
    line: int | None
    #: The path of the file that contains the code; None for code that is not in a file.
    module: str | None
    build_id: str | None
    #: The address of the next instruction as in the module's headers, as other tools expect it.
    offset: int
    #: The same address in the memory of the target.
    address: int
    #: Whether the compiler inlined this call into its caller.
    is_inlined: bool
    #: Whether it belongs to the interpreter's internals: the evaluation loop, call helpers, startup.
    is_plumbing: bool
    #: Whether it was found without unwind information.
    is_guess: bool

    @classmethod
    def from_raw(cls, raw: RawNativeFrame) -> NativeFrame:
        """Converts from the mapping of the C++ core."""
        return cls(**raw)

    def to_json_dict(self) -> dict[str, Any]:
        """The object in the JSON output."""
        return self._asdict()

    @property
    def name(self) -> str:
        """Its name in Python if it is known, else the name of the function."""
        return self.function if self.python_name is None else self.python_name


class Gap(NamedTuple):
    """A place in a stack where native frames are missing."""

    kind: Literal["gap"]
    #: Why they are missing, one sentence.
    reason: str

    @classmethod
    def from_raw(cls, raw: RawGap) -> Gap:
        """Converts from the mapping of the C++ core."""
        return cls(**raw)

    def to_json_dict(self) -> dict[str, Any]:
        """The object in the JSON output."""
        return self._asdict()


AnyFrame = Frame | NativeFrame | Gap


def frames_from_raw(
    raws: list[RawFrame | RawNativeFrame | RawGap],
) -> tuple[AnyFrame, ...]:
    """Converts each distinct object once: deep recursion repeats the same frame."""
    made: dict[int, AnyFrame] = {}
    for raw in raws:
        if id(raw) not in made:
            made[id(raw)] = _frame_from_raw(raw)
    return tuple([made[id(raw)] for raw in raws])


def frames_to_json(frames: tuple[AnyFrame, ...]) -> list[dict[str, Any]]:
    """The inverse of `frames_from_raw`."""
    made: dict[int, dict[str, Any]] = {}
    for frame in frames:
        if id(frame) not in made:
            made[id(frame)] = frame.to_json_dict()
    return [made[id(frame)] for frame in frames]


def _frame_from_raw(raw: RawFrame | RawNativeFrame | RawGap) -> AnyFrame:
    if raw["kind"] == "python":
        return Frame.from_raw(raw)
    if raw["kind"] == "native":
        return NativeFrame.from_raw(raw)
    return Gap.from_raw(raw)
