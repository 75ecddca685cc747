"""What only wheels have: shell completions and man pages made from the commands, the launcher, licences."""

from __future__ import annotations

import importlib.metadata
import shutil
from pathlib import Path

import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete
from click_man.core import write_man_pages

from pystack import __version__
from pystack.cli.group import cli
from tools.steps import Steps
from tools.wheelhouse.toolchain import MUSL, Toolchain

ROOT = Path(__file__).resolve().parents[2]
LAUNCHER = "pystack-ptrace"
_COMPLETIONS = {
    BashComplete: "bash-completion/completions/pystack",
    ZshComplete: "zsh/site-functions/_pystack",
    FishComplete: "fish/vendor_completions.d/pystack.fish",
}


def write_extras(steps: Steps, cache: Path, folder: Path) -> None:
    """Fills the folder with `share` and `bin`, which wheels install below the prefix of the environment."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "bin").mkdir(parents=True)
    _compile_launcher(steps, Toolchain(steps, cache, MUSL), folder / "bin" / LAUNCHER)
    share = folder / "share"
    for kind, path in _COMPLETIONS.items():
        # Not `source()`, which asks the shell of this machine for its version.
        script = kind(cli, {}, "pystack", "_PYSTACK_COMPLETE")
        file = share / path
        file.parent.mkdir(parents=True)
        file.write_text(script.source_template % script.source_vars())
    pages = share / "man" / "man1"
    pages.mkdir(parents=True)
    # It dates them by SOURCE_DATE_EPOCH.
    write_man_pages("pystack", _loaded_group(), version=__version__, target_dir=str(pages))


def licences(toolchain: Toolchain, libraries: Path) -> str:
    """The licences of all that is linked statically."""
    zig = toolchain.zig.parent
    nanobind = importlib.metadata.distribution("nanobind")
    nanobind_licence = next(file for file in nanobind.files or () if file.name == "LICENSE")
    files = {
        **{file.stem: file for file in sorted((libraries / "licences").iterdir())},
        "libcxx": zig / "lib/libcxx/LICENSE.TXT",
        "libcxxabi": zig / "lib/libcxxabi/LICENSE.TXT",
        "libunwind": zig / "lib/libunwind/LICENSE.TXT",
        "nanobind": Path(str(nanobind_licence.locate())),
    }
    texts = (f"--- {name} ---\n\n{file.read_text().rstrip()}\n" for name, file in files.items())
    return "The extension pystack/_core is linked with these libraries.\n\n" + "\n".join(texts)


def _loaded_group() -> click.Group:
    """The group with all commands: click_man does not see those that a group loads when they are called."""
    context = click.Context(cli)
    group = click.Group(cli.name, params=cli.params, help=cli.help)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        # click_man would cut the first sentence.
        command.short_help = command.get_short_help_str(limit=200)
        group.add_command(command, name)
    group.short_help = cli.get_short_help_str(limit=200)
    return group


def _compile_launcher(steps: Steps, toolchain: Toolchain, program: Path) -> None:
    """Static, which only musl can be: so it is the same program everywhere, and loads no library."""
    source = ROOT / "launcher" / "pystack_ptrace.c"
    options = ("-std=c17", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-s")
    paths = toolchain.path_options(source.parent).split()
    environment = toolchain.environment()
    steps.run(
        toolchain["cc"],
        *options,
        *paths,
        "-o",
        program,
        source.name,
        cwd=source.parent,
        environment=environment,
    )
