"""Rates, coverage and losses as numbers and in words. Nothing lost goes unsaid."""

from __future__ import annotations

from .profile import SamplerStats


def achieved_rate_hz(stats: SamplerStats) -> float:
    """Ticks served per second."""
    return stats["ticks"] / (stats["elapsed_ns"] / 1e9) if stats["elapsed_ns"] else 0.0


def coverage(stats: SamplerStats) -> float | None:
    """The part of the planned samples that there are. None: none were planned yet."""
    ticks = stats["ticks"] + stats["missed"]
    if not stats["attempted"] or not ticks:
        return None
    return stats["taken"] / stats["attempted"] * stats["ticks"] / ticks


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


def pauses(stats: SamplerStats) -> str:
    """The histogram of stops in words: `half under 64 us, 99 % under 0.256 ms, at most 0.31 ms`."""
    bounds = {"half": 0.5, "99 %": 0.99}
    words = [
        f"{name} under {format_pause(pause_under_ns(stats, share))}"
        for name, share in bounds.items()
        if any(stats["stops"])
    ]
    return ", ".join([*words, f"at most {format_pause(stats['stop_ns_max'])}"])


def pause_under_ns(stats: SamplerStats, share: float) -> int:
    """The least bound of the histogram under which that share of the stops is; the last has none, and the
    longest stop is given."""
    wanted = share * sum(stats["stops"])
    seen = 0
    for bucket, count in enumerate(stats["stops"][:-1]):
        seen += count
        if seen >= wanted:
            return 1000 << bucket
    return stats["stop_ns_max"]


def format_pause(duration_ns: int) -> str:
    if duration_ns < 100_000:
        return f"{duration_ns / 1e3:.3g} us"
    return format_time(duration_ns)


def format_rate(rate_hz: float) -> str:
    return f"{rate_hz / 1000:.4g} kHz" if rate_hz >= 1000 else f"{rate_hz:.4g} Hz"


def format_time(duration_ns: int) -> str:
    if duration_ns < 1_000_000_000:
        return f"{duration_ns / 1e6:.3g} ms"
    return f"{duration_ns / 1e9:,.1f} s"


def format_share(part_ns: float, whole_ns: float) -> str:
    """Two digits, and never 100 % where something is missing."""
    if not whole_ns:
        return "0 %"
    percent = 100 * part_ns / whole_ns
    if 99 <= percent < 100:
        return f"{min(percent, 99.99):.4g} %"
    return f"{percent:.3g} %" if percent >= 100 else f"{percent:.2g} %"


def plural(count: int, noun: str, ending: str = "s") -> str:
    """`1 sample`, `2,000 samples`."""
    return f"{count:,} {noun}{'' if count == 1 else ending}"
