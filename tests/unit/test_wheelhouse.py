"""The parts of tools/wheelhouse that take no compiler."""

from __future__ import annotations

import io
import sys
import tarfile
from pathlib import Path

import pytest

# Last, so that pystack is the installed one.
sys.path.append(str(Path(__file__).resolve().parents[2]))
from tools.steps import StepError, Steps, is_current, publish, workplace, write_stamp
from tools.wheelhouse.audit import runs_on
from tools.wheelhouse.builds import unpack_for_wheels


def archive(folder: Path, **files: str) -> Path:
    path = folder / "made.tar.gz"
    with tarfile.open(path, "w:gz") as made:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"pystack-1/{name.replace('__', '.')}")
            entry.size = len(text)
            made.addfile(entry, io.BytesIO(text.encode()))
    return path


CONFIGURATION = 'license-files = ["LICENSE"]\n'


def test_sources_that_did_not_change_are_not_touched(tmp_path: Path) -> None:
    source = tmp_path / "source"
    first = archive(tmp_path, a__cpp="a", b__cpp="b", c__cpp="c", pyproject__toml=CONFIGURATION)
    unpack_for_wheels(first, source, "")
    before = {name: (source / name).stat().st_ino for name in ("a.cpp", "b.cpp")}
    second = archive(tmp_path, a__cpp="a", b__cpp="B", pyproject__toml=CONFIGURATION)
    unpack_for_wheels(second, source, "")
    assert (source / "a.cpp").stat().st_ino == before["a.cpp"]
    assert (source / "b.cpp").read_text() == "B"
    assert not (source / "c.cpp").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made.tar.gz", "source"]


def test_wheels_have_the_licences_of_what_is_linked(tmp_path: Path) -> None:
    source = tmp_path / "source"
    sdist = archive(tmp_path, pyproject__toml=CONFIGURATION)
    unpack_for_wheels(sdist, source, "as is")
    assert (source / "LICENSE.libraries").read_text() == "as is"
    expected = 'license-files = ["LICENSE", "LICENSE.libraries"]\n'
    assert (source / "pyproject.toml").read_text() == expected
    with pytest.raises(StepError, match="has no line"):
        unpack_for_wheels(archive(tmp_path, pyproject__toml=""), source, "")


def test_our_own_configuration_has_the_line_of_licences() -> None:
    assert CONFIGURATION in Path(__file__).parents[2].joinpath("pyproject.toml").read_text()


def test_folder_is_finished_or_not_there(tmp_path: Path) -> None:
    final = tmp_path / "final"
    with pytest.raises(FileNotFoundError), workplace(tmp_path / "tmp") as made:
        (made / "half" / "missing").touch()
    assert not any(tmp_path.iterdir())
    with workplace(tmp_path / "tmp") as made:
        write_stamp(made, ("recipe", 1))
        publish(made, final)
    assert is_current(final, ("recipe", 1))
    assert not is_current(final, ("recipe", 2))


def test_failed_step_shows_the_end_of_its_output(tmp_path: Path) -> None:
    log = tmp_path / "log"
    steps = Steps("test", log)
    assert steps.lines("printf", "one\\ntwo\\n") == ["one", "two"]
    with pytest.raises(StepError, match="status 3") as raised:
        steps.run("sh", "-c", "echo said; exit 3")
    assert "said" in str(raised.value)


def test_wheels_for_musl_need_only_musl() -> None:
    audited = 'libraries are required by the wheel:\n{\n    "libc.so": "a/libc.so"\n}\n'
    assert runs_on(audited, "musllinux_1_2_x86_64")
    more = audited.replace("{\n", '{\n    "libz.so.1": null,\n')
    assert not runs_on(more, "musllinux_1_2_x86_64")


@pytest.mark.parametrize(
    ("found", "runs"),
    [
        ("manylinux_2_28_x86_64", True),
        ("manylinux_2_17_x86_64", True),
        ("manylinux_2_34_x86_64", False),
        ("musllinux_1_1_x86_64", False),
        ("manylinux_2_17_aarch64", False),
        ("linux_x86_64", False),
    ],
)
def test_wheels_need_no_more_than_their_tag_says(found: str, runs: bool) -> None:
    audited = f'a.whl is consistent with\nthe following platform\ntag: "{found}".\n'
    assert runs_on(audited, "manylinux_2_28_x86_64") == runs
