"""What CMake says if a development package is missing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CMAKE = shutil.which("cmake", path=str(Path(sys.executable).parent)) or shutil.which("cmake")
FOLDER = Path(__file__).parents[2] / "cmake"
LZMA = ("-DCOMPRESSION_LZMA_INCLUDE_DIR=/x", "-DCOMPRESSION_LZMA=/x")


@pytest.mark.parametrize(
    ("script", "given", "package"),
    [
        ("Compression.cmake", (), "liblzma-dev"),
        ("Compression.cmake", LZMA, "zlib1g-dev"),
        ("TestSupport.cmake", (), "doctest-dev"),
    ],
)
def test_the_package_is_named(script: str, given: tuple[str, ...], package: str) -> None:
    if CMAKE is None:
        pytest.skip("no cmake: tools/setup --tests installs it")
    # As a script, CMake searches no system folders.
    done = subprocess.run(
        [CMAKE, *given, "-P", FOLDER / script], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert f"apt-get install {package}" in " ".join(done.stderr.split())
