"""Made-up symbols of Rust, by the rules of its two mangling schemes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_NAME_LETTERS = "abcxyz_019AZ"
_BASIC_TYPES = "abcdefhijlmnopstuvxyz"
# Of "gödel", "café", "ω", and RFC 2603's example.
_PUNYCODE = ("8gdel_5qa", "7caf_dma", "3_bya", "30____7hkackfecea1cbdathfdh9hlq6y")
_MAX_DEPTH = 7


def base_62(number: int) -> str:
    """As RFC 2603 has it: 0 is "_", 1 is "0_"."""
    if number == 0:
        return "_"
    number -= 1
    text = ""
    while True:
        number, digit = divmod(number, 62)
        text = _DIGITS[digit] + text
        if number == 0:
            return text + "_"


class V0Symbols:
    """Symbols of the v0 scheme, one method for each rule of its grammar (Rust RFC 2603)."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def next(self) -> str:
        self._text = ""
        self._depth = 0
        self._bound = 0  # Lifetimes.
        # Where something begins that can be referred to; what uses bound lifetimes cannot.
        self._places: dict[str, list[int]] = {"path": [], "type": [], "const": []}
        self._path()
        return "_R" + self._text

    def _chance(self, share: float) -> bool:
        return self._random.random() < share

    def _put(self, text: str) -> None:
        self._text += text

    def _choose(self, tags: str) -> str:
        """One of the tags; the first, which leads to no more of them, where it gets too deep."""
        tag = tags[0] if self._depth > _MAX_DEPTH else self._random.choice(tags)
        self._put(tag)
        return tag

    def _rule(self, kind: str, write: Callable[[], None]) -> None:
        start = len(self._text)
        places = self._places[kind]
        if self._bound == 0 and places and self._chance(0.15):
            self._put("B" + base_62(self._random.choice(places)))
            return
        self._depth += 1
        write()
        self._depth -= 1
        if self._bound == 0:
            places.append(start)

    def _disambiguator(self, share: float) -> None:
        if self._chance(share):
            self._put("s" + base_62(self._random.randrange(3)))

    def _name(self) -> None:
        if self._chance(0.1):
            self._put("u" + self._random.choice(_PUNYCODE))
            return
        size = self._random.randrange(1, 9)
        name = "".join(self._random.choice(_NAME_LETTERS) for _ in range(size))
        self._put(f"{size}{'_' if name[0] in '_0123456789' else ''}{name}")

    def _identifier(self) -> None:
        self._disambiguator(0.4)
        self._name()

    def _path(self) -> None:
        self._rule("path", self._new_path)

    def _new_path(self) -> None:
        match self._choose("CNNMXYI"):
            case "C":
                self._identifier()
            case "N":
                self._put(self._random.choice("vtvtCSm"))
                self._path()
                self._identifier()
            case "M":
                self._disambiguator(0.5)
                self._path()
                self._type()
            case "X":
                self._disambiguator(0.5)
                self._path()
                self._type()
                self._path()
            case "Y":
                self._type()
                self._path()
            case _:
                self._path()
                for _ in range(self._random.randrange(3)):
                    self._generic_argument()
                self._put("E")

    def _generic_argument(self) -> None:
        kind = self._random.random()
        if kind < 0.15:
            self._lifetime()
        elif kind < 0.35:
            self._put("K")
            self._const()
        else:
            self._type()

    def _lifetime(self) -> None:
        self._put("L" + base_62(self._random.randrange(self._bound + 1)))

    def _binder(self) -> int:
        if not self._chance(0.4):
            return 0
        count = self._random.randrange(1, 3)
        self._put("G" + base_62(count - 1))
        self._bound += count
        return count

    def _const(self) -> None:
        self._rule("const", self._new_const)

    def _new_const(self) -> None:
        match self._choose("phjisbc"):
            case "h" | "j":
                self._put(f"{self._random.randrange(256):x}_")
            case "i" | "s":
                sign = self._random.choice(["", "n"])
                self._put(f"{sign}{self._random.randrange(1, 2**15):x}_")
            case "b":
                self._put(self._random.choice(["0_", "1_"]))
            case "c":
                # libiberty escapes more of the others than rustc does.
                self._put(f"{ord(self._random.choice('aZ9!{')):x}_")

    def _type(self) -> None:
        self._rule("type", self._new_type)

    def _new_type(self) -> None:
        if self._depth > _MAX_DEPTH or self._chance(0.2):
            self._put(self._random.choice(_BASIC_TYPES))
            return
        match self._choose("PRQOASTFDCN"):
            case "C":
                self._identifier()
            case "N":
                self._put("t")
                self._path()
                self._identifier()
            case "R" | "Q":
                if self._chance(0.5):
                    self._lifetime()
                self._type()
            case "A":
                self._type()
                self._const()
            case "T":
                for _ in range(self._random.randrange(3)):
                    self._type()
                self._put("E")
            case "F":
                self._function()
            case "D":
                self._trait_object()
            case _:
                self._type()

    def _function(self) -> None:
        bound = self._binder()
        if self._chance(0.3):
            self._put("U")
        if self._chance(0.3):
            self._put("K" + self._random.choice(["C", "6system", "9rust_call"]))
        for _ in range(self._random.randrange(3)):
            self._type()
        self._put("E")
        if self._chance(0.4):
            self._put("u")
        else:
            self._type()
        self._bound -= bound

    def _trait_object(self) -> None:
        bound = self._binder()
        for _ in range(self._random.randrange(1, 3)):
            self._path()
            if self._chance(0.4):
                self._put("p")
                self._name()
                self._type()
        self._put("E")
        self._bound -= bound
        self._lifetime()


def v0_symbols(count: int, longest: int = 400) -> Iterator[str]:
    symbols = V0Symbols(seed=1)
    while count > 0:
        symbol = symbols.next()
        if len(symbol) <= longest:
            count -= 1
            yield symbol


# What the legacy scheme writes for what linkers do not like in names.
_LEGACY_PIECES = [
    "a",
    "Vec",
    "fmt",
    "x1",
    "..",
    "_",
    "$LT$",
    "$GT$",
    "$u20$",
    "$C$",
    "$RF$",
    "$BP$",
]
_LEGACY_PIECES += ["$LP$", "$RP$", "$u5b$", "$u5d$", "$u7b$", "$u7d$", "$SP$", "$u27$", "$u3b$"]


def legacy_symbols(count: int) -> Iterator[str]:
    chooser = random.Random(2)
    for _ in range(count):
        symbol = "_ZN"
        for _ in range(chooser.randrange(1, 5)):
            name = "".join(chooser.choices(_LEGACY_PIECES, k=chooser.randrange(1, 7)))
            if name.startswith("$"):
                name = "_" + name
            symbol += f"{len(name)}{name}"
        yield f"{symbol}17h{chooser.randrange(2**64):016x}E"
