"""The command line of `tools/journeys`."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
from interpreters import by_name, cache_dir
from tools.gallery.journeys import JOURNEYS, Journey
from tools.gallery.pictures import Look, look_at, write_index

ROOT = Path(__file__).resolve().parents[2]
#: All the packages have wheels for it.
_INTERPRETER = "3.12-pyenv"

#: Until a program has ended what it had started.
_END_S = 5


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/journeys", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "journeys")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - {journey.name for journey in JOURNEYS}
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    chosen = [one for one in JOURNEYS if not arguments.names or one.name in arguments.names]
    folder: Path = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    python = environment([package for journey in chosen for package in journey.packages])
    looks: list[Look] = []
    with sync_playwright() as playwright:
        for journey in chosen:
            print(f"{journey.name}: recording", file=sys.stderr, flush=True)
            page = folder / f"{journey.name}.html"
            record(journey, python, page)
            look = look_at(playwright, journey, page)
            looks.append(look)
            print(look.told(), flush=True)
    write_index(looks, folder / "index.html")
    return 1 if any(look.console for look in looks) else 0


def environment(packages: list[str]) -> Path:
    """An interpreter with these packages, in a folder that is used again."""
    folder = cache_dir() / "journeys"
    python = folder / "bin" / "python"
    if not python.exists():
        base = by_name(_INTERPRETER).host_executable
        subprocess.run([base, "-m", "venv", folder], check=True)
    pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    if packages:
        subprocess.run([*pip, *packages], check=True)
    return python


def record(journey: Journey, python: Path, page: Path) -> None:
    tool = (sys.executable, "-m", "pystack", "record", *journey.options, "-o", str(page))
    if not journey.is_attached:
        # Its status is that of the program, which is not asked.
        subprocess.run(
            [*tool, "--", python, *journey.command], check=False, stdout=subprocess.DEVNULL
        )
        return
    with subprocess.Popen(
        [python, *journey.command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        pid = program.stdout.readline().strip()
        subprocess.run([*tool, pid], check=True)
        assert program.stdin is not None
        program.stdin.close()
        try:
            program.wait(_END_S)
        except subprocess.TimeoutExpired:
            program.kill()  # It is stuck for good, which is why it is recorded.


if __name__ == "__main__":
    raise SystemExit(main())
