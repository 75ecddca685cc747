"""`pystack doctor [PID...]`: what is allowed here, and what is missing, before it is needed."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from pystack import checkup
from pystack.checkup import Checkup, Finding
from pystack.cli.declare import argument
from pystack.cli.hints import in_options
from pystack.cli.options import HELP_FLAGS, common_options, settings_of
from pystack.cli.quantities import pid as pid_type
from pystack.cli.screen import write_lines
from pystack.render.escape import escape
from pystack.render.terminal import COLOURS, PLAIN, wants_colour


@click.command("doctor", context_settings=HELP_FLAGS)
@argument("pids", type=pid_type, nargs=-1, metavar="[PID]...")
@click.option("-j", "--json", "as_json", is_flag=True, help="Print JSON.")
@common_options
@click.pass_context
def doctor(context: click.Context, /, pids: tuple[int, ...], as_json: bool) -> None:
    """Say what is allowed on this machine, and what to do about what is not.

    \b
        pystack doctor
        pystack doctor 4711

    A process is dumped three times: stopped, not stopped, and with its native frames. The exit status
    is that of `pystack dump` of the first process that cannot be dumped, otherwise 0.
    """
    machine = _in_options(checkup.check_machine())
    processes = [
        one._replace(findings=_in_options(one.findings)) for one in map(checkup.check_process, pids)
    ]
    if as_json:
        import json

        write_lines(json.dumps(checkup.to_json(machine, processes), indent=2).splitlines())
    else:
        color = wants_colour(sys.stdout, no_color=settings_of(context).no_color)
        write_lines(_lines(machine, processes, color=color), color=color)
    context.exit(next((one.exit_code for one in processes if one.exit_code), 0))


def _in_options(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    return tuple(
        [one if one.fix is None else one._replace(fix=in_options(one.fix)) for one in findings]
    )


def _lines(machine: tuple[Finding, ...], processes: list[Checkup], *, color: bool) -> Iterator[str]:
    yield "This machine"
    yield from _table(machine, color=color)
    for one in processes:
        yield ""
        yield f"Process {one.pid}"
        yield from _table(one.findings, color=color)


def _table(findings: tuple[Finding, ...], *, color: bool) -> Iterator[str]:
    palette = COLOURS if color else PLAIN
    paint = {"ok": palette.good, "note": palette.waiting, "problem": palette.bad}
    width = max(len(finding.subject) for finding in findings)
    before: Finding | None = None
    for finding in findings:
        is_same = before is not None and finding == before._replace(subject=finding.subject)
        is_repeated = is_same and finding.level == "problem"
        level = palette.paint(paint[finding.level], f"{finding.level:7}")
        text = "the same" if is_repeated else escape(finding.text)
        yield f"  {level}  {finding.subject:{width}}  {text}"
        if finding.fix is not None and not is_repeated:
            yield " " * (13 + width) + escape(finding.fix)
        before = finding
