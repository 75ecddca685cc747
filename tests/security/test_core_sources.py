"""Cores whose author names files that he must not read. All that is in a core is his word."""

from __future__ import annotations

import gzip
import os
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from core_files import gcore, need_gdb
from security.attackers import ATTACKER_ID, attack, attacker_folder, needs_root
from security.test_source_files import NAMING, SECRET, secret_file
from tool_runs import run_tool

pytestmark = needs_root

MINE = "of-the-attacker"
PUBLIC = "of-everyone"
ROOT_ID = 0


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    need_gdb()
    with attacker_folder() as made:
        yield made


@pytest.fixture(scope="module")
def core(folder: Path) -> tuple[Path, int]:
    """Of the attacker's process, and its pid. The file is root's."""
    secret = secret_file(folder / "secret.py")
    (folder / "link.py").symlink_to("secret.py")
    mine = secret_file(folder / "mine.py")
    mine.write_text(MINE + "\n")
    os.chown(mine, ATTACKER_ID, ATTACKER_ID)
    public = secret_file(folder / "public.py", 0o644)
    public.write_text(PUBLIC + "\n")
    names = (secret, folder / "link.py", "/etc/shadow", "/proc/self/environ", mine, public)
    with attack(folder, NAMING, *names) as process:
        made = gcore(process.pid, folder)
        made.chmod(0o600)
        return made, process.pid


def shown(core: Path, *options: object) -> set[str]:
    done = run_tool("core", core, *options, env={**os.environ, "NAME": SECRET})
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("in call") == 6
    return {text for text in (SECRET, MINE, PUBLIC, "root:") if text in done.stdout}


def copy(core: Path, name: str, owner: int, mode: int = 0o600) -> Path:
    made = core.with_name(name)
    shutil.copyfile(core, made)
    os.chown(made, owner, owner)
    made.chmod(mode)
    return made


def test_cores_that_root_keeps(core: tuple[Path, int]) -> None:
    assert shown(core[0]) == {PUBLIC}
    assert shown(core[0], "--source-root", "/") == {SECRET, MINE, PUBLIC, "root:"}


def test_cores_that_a_user_wrote(core: tuple[Path, int]) -> None:
    own = copy(core[0], "own", ATTACKER_ID)
    assert shown(own) == {MINE, PUBLIC}
    packed = own.with_name("own.gz")
    packed.write_bytes(gzip.compress(own.read_bytes(), 1))
    os.chown(packed, ATTACKER_ID, ATTACKER_ID)
    packed.chmod(0o600)
    assert shown(packed) == {MINE, PUBLIC}


def test_cores_that_anybody_can_have_written(core: tuple[Path, int]) -> None:
    assert shown(copy(core[0], "open", ATTACKER_ID, 0o666)) == {PUBLIC}


def test_cores_that_name_another_user(core: tuple[Path, int]) -> None:
    forged = copy(core[0], "forged", ATTACKER_ID)
    ids = struct.pack("<IIi", ATTACKER_ID, ATTACKER_ID, core[1])  # NT_PRPSINFO
    data = forged.read_bytes()
    assert ids in data
    forged.write_bytes(data.replace(ids, struct.pack("<IIi", ROOT_ID, ROOT_ID, core[1])))
    assert shown(forged) == {PUBLIC}
    os.chown(forged, ROOT_ID, ROOT_ID)
    assert shown(forged) == {PUBLIC}


def test_cores_of_which_systemd_says_whose_they_are(core: tuple[Path, int]) -> None:
    kept = copy(core[0], "kept", ROOT_ID)
    try:
        os.setxattr(kept, "user.coredump.uid", str(ATTACKER_ID).encode())
    except OSError as error:
        pytest.skip(f"no extended attributes here: {error}")
    assert shown(kept) == {MINE, PUBLIC}


def test_files_in_a_root_that_was_copied(core: tuple[Path, int], folder: Path) -> None:
    """Its links do not lead out of it."""
    copied = folder / "copied"
    place = copied / str(folder).lstrip("/")
    place.mkdir(parents=True)
    (place / "public.py").symlink_to("/../../../../../../etc/shadow")
    (place / "secret.py").symlink_to(folder / "secret.py")
    assert shown(core[0], "--source-root", copied) == {PUBLIC}
