"""Names of every width: Latin-1 (1 byte), the rest of the BMP (2 bytes), beyond (4 bytes); and
names no source file can have."""

import sys

from _truth import scene, scene_with, skip


@scene
def latin_1(gate):
    class Größe:
        def café(self):
            ñandú = lambda: gate.wait()  # noqa: E731
            ñandú()

    Größe().café()


@scene
def ucs_2(gate):
    class Δίκτυο:
        def расчёт(self):
            def 計算する():
                gate.wait()

            計算する()

    Δίκτυο().расчёт()


@scene
def ucs_4(gate):
    class 𐐀𐐁:
        def 𝒳_mixed_é_計(self):  # the identifier is normalised to X_mixed_é_計
            𠀀𠀁 = [gate.wait() for 𠀂 in "a"]
            return 𠀀𠀁

    𐐀𐐁().𝒳_mixed_é_計()


@scene
def columns_after_wide_characters(gate):
    """Columns count bytes of UTF-8, not characters."""

    def 計(*args):
        return gate.wait()

    return ["é", "計", "😀", 計("ééé", "計計", "😀"), "😀"]


FILE_NAMES = [
    ("file name, Latin-1", "/srv/café/Größe.py"),
    ("file name, UCS-2", "/srv/計算/расчёт.py"),
    ("file name, UCS-4", "/srv/😀/𠀀.py"),
    ("file name, empty", ""),
    ("file name, spaces and quotes", '/srv/my "dir"/it\'s\\back.py'),
    ("file name, control characters", "/srv/new\nline\ttab\x1b[31mred\x7f\r.py"),
    ("file name, long", "/srv/" + "long-" * 800 + ".py"),
    ("file name, long UCS-2", "/srv/" + "計算" * 2000 + ".py"),
    ("file name, bytes that are not UTF-8", b"/srv/\xff\xfe.py".decode("utf-8", "surrogateescape")),
    ("file name, right to left", "/srv/\u202egnp.\u202c\u200b\ufeff.py"),
]


def waits_in(file_name):
    def waits(gate):
        source = "def waits_here(gate):\n\n    gate.wait()\n\nwaits_here(gate)\n"
        namespace = {"gate": gate}
        exec(compile(source, file_name, "exec"), namespace)

    return waits


for label, file_name in FILE_NAMES:
    scene_with(name=label)(waits_in(file_name))


FUNCTION_NAMES = [
    ("function name, empty", ""),
    ("function name, control characters", "new\nline\x1b[2J\x00nul"),
    ("function name, long", "long_" * 800),
    ("function name, long UCS-4", "😀𠀀" * 2000),
    ("function name, surrogates", "lone \udcff \ud800"),
    ("function name, Latin-1 controls", "\x80\x9b31m\xad"),
]


def waits_under(name):
    def waits(gate):
        def renamed():
            gate.wait()

        changes = {"co_name": name}
        if sys.version_info >= (3, 11):
            changes["co_qualname"] = "qualified." + name
        renamed.__code__ = renamed.__code__.replace(**changes)
        renamed()

    return waits


for label, name in FUNCTION_NAMES:
    if sys.version_info >= (3, 8):
        scene_with(name=label)(waits_under(name))
    else:
        skip(label, "code.replace() came with 3.8")
