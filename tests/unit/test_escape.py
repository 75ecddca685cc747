import pytest

from pystack.render.escape import display_width, escape, quote_command


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("plain text", "plain text"),
        ("größe 名前 🐍", "größe 名前 🐍"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x9b31m", r"\x9b31m"),
        ("\x00\x07\x7f", r"\x00\x07\x7f"),
        ("a\nb\tc\rd", r"a\nb\tc\rd"),
        ("\u202etxt.exe", r"\u202etxt.exe"),
        ("\u2066a\u2069\u200f", r"\u2066a\u2069\u200f"),
        ("a\u2028b\ufeff", r"a\u2028b\ufeff"),
        ("\udcff", r"\udcff"),
        ("\U000e0041", r"\U000e0041"),
        ("👨\u200d👩", "👨\u200d👩"),
    ],
)
def test_escape(text: str, escaped: str) -> None:
    assert escape(text) == escaped


def test_nothing_that_moves_a_terminal_is_left() -> None:
    controls = [*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
    assert escape("".join(map(chr, controls))).isprintable()


def test_display_width() -> None:
    assert display_width("abc") == 3
    assert display_width("名前") == 4
    assert display_width("e\u0301") == 1
    assert display_width("") == 0


def test_quote_command() -> None:
    assert quote_command(("python", "-m", "app", "--x=1")) == "python -m app --x=1"
    assert quote_command(("python", "-c", "import x\nf('a')")) == (
        "python -c 'import x\\nf('\"'\"'a'\"'\"')'"
    )
    assert quote_command(("a b", "", "\x1b")) == r"'a b' '' '\x1b'"
