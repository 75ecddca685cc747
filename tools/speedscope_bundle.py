"""Fetches the speedscope viewer that tests check our files with, from the npm registry.

    python tools/speedscope_bundle.py

It goes to `$PYSTACK_TEST_CACHE/speedscope`, by default `~/.cache/pystack-tests/speedscope`, once.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

VERSION = "1.25.0"


def folder() -> Path:
    """Where the unpacked release is, or will be."""
    cache = os.environ.get("PYSTACK_TEST_CACHE") or "~/.cache/pystack-tests"
    return Path(cache).expanduser() / "speedscope" / VERSION


def main() -> int:
    target = folder()
    if (target / "package.json").exists():
        print(target)
        return 0
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        command = ["npm", "pack", "--silent", f"speedscope@{VERSION}"]
        try:
            subprocess.run(command, cwd=temporary, check=True, stdout=subprocess.DEVNULL)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"cannot fetch speedscope {VERSION} with npm: {error}", file=sys.stderr)
            return 1
        with tarfile.open(next(Path(temporary).glob("*.tgz"))) as archive:
            if hasattr(tarfile, "data_filter"):
                archive.extraction_filter = tarfile.data_filter  # the default from 3.14 on
            archive.extractall(temporary)
        if not target.exists():
            (Path(temporary) / "package").rename(target)
    print(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
