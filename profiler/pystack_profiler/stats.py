"""What a recording cost and what it lost, in words. Nothing lost goes unsaid."""

from __future__ import annotations

from pystack.render.escape import escape

from .aggregate import thread_totals
from .profile import Profile, SamplerStats


def achieved_rate_hz(stats: SamplerStats) -> float:
    """Ticks served per second."""
    return stats["ticks"] / (stats["elapsed_ns"] / 1e9) if stats["elapsed_ns"] else 0.0


def lost_samples(stats: SamplerStats) -> int:
    return stats["torn"] + stats["failed"] + stats["vanished"]


def losses(stats: SamplerStats) -> str:
    """Losses by cause: `none lost`, or `lost 4: 3 torn, 1 vanished; ticks: 2 late`."""
    causes = [
        f"{stats[cause]:,} {cause}" for cause in ("torn", "failed", "vanished") if stats[cause]
    ]
    ticks = [f"{stats[cause]:,} {cause}" for cause in ("late", "missed") if stats[cause]]
    text = f"lost {lost_samples(stats):,}: {', '.join(causes)}" if causes else "none lost"
    return f"{text}; ticks: {', '.join(ticks)}" if ticks else text


def summary(profile: Profile) -> str:
    """One line: samples, rate, losses, cost."""
    metadata = profile.metadata
    samples, threads = profile.sample_count, len(profile.tracks)
    parts = [
        f"{samples:,} sample{_s(samples)} of {threads} thread{_s(threads)}"
        f" in {_seconds(profile.duration_ns)}"
    ]
    if profile.stats is None:
        return parts[0]
    rate = achieved_rate_hz(profile.stats)
    parts[0] += f" at {format_rate(rate)} (asked {format_rate(metadata.rate_hz)})"
    parts.append(losses(profile.stats))
    parts.append(f"tool CPU {_share(metadata.tool_cpu_ns, profile.duration_ns)}")
    if metadata.stops_target:
        stopped = _share(profile.stats["stop_ns_total"], profile.duration_ns)
        longest_ms = profile.stats["stop_ns_max"] / 1e6
        parts.append(f"target stopped {stopped}, at most {longest_ms:.2f} ms at once")
    return "; ".join(parts)


def details(profile: Profile) -> list[str]:
    """The same at length: every counter, and a line for each thread."""
    lines = [f"CPython {profile.metadata.python_version}, ended: {profile.metadata.end_reason}"]
    if profile.stats is not None:
        stats = profile.stats
        lines.append(
            "thread samples: {attempted:,} attempted, {taken:,} taken, {torn:,} torn,"
            " {failed:,} failed, {vanished:,} vanished".format(**stats)
        )
        lines.append("ticks: {ticks:,} served, {late:,} late, {missed:,} missed".format(**stats))
        lines.append(
            f"CPU time: sampling thread {_seconds(stats['cpu_ns'])},"
            f" whole tool {_seconds(profile.metadata.tool_cpu_ns)}"
        )
    lines.append(
        f"tables: {len(profile.stack_parent):,} stacks, {len(profile.frame_function):,} frames,"
        f" {len(profile.strings):,} strings"
    )
    if profile.time_resolution_ns:
        resolution = _seconds(profile.time_resolution_ns)
        lines.append(f"order of samples kept to {resolution}; all sums are exact")
    for total in thread_totals(profile):
        identity = total.identity
        facts = [f"{total.samples:,} sample{_s(total.samples)}", f"seen {_seconds(total.seen_ns)}"]
        if total.on_cpu_ns is not None:
            facts.append(f"on CPU {_share(total.on_cpu_ns, total.seen_ns)}")
        if total.gil_held_ns is not None:
            facts.append(f"held the GIL {_share(total.gil_held_ns, total.seen_ns)}")
        if total.gil_wait_ns is not None:
            facts.append(f"waited for it {_share(total.gil_wait_ns, total.seen_ns)}")
        name = f' "{escape(identity.name)}"' if identity.name else ""
        lines.append(f"thread {identity.pid}/{identity.tid}{name}: {', '.join(facts)}")
    return lines


def format_rate(rate_hz: float) -> str:
    return f"{rate_hz / 1000:.4g} kHz" if rate_hz >= 1000 else f"{rate_hz:.4g} Hz"


def _seconds(duration_ns: int) -> str:
    if duration_ns < 1_000_000_000:
        return f"{duration_ns / 1e6:.3g} ms"
    return f"{duration_ns / 1e9:,.1f} s"


def _share(part_ns: int, whole_ns: int) -> str:
    return f"{100 * part_ns / whole_ns:.2g} %" if whole_ns else "0 %"


def _s(count: int) -> str:
    return "" if count == 1 else "s"
