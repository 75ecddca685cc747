"""Rates, coverage and losses as numbers and as text. Every loss is reported."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystack.sampling import SamplerStats


def achieved_rate_hz(stats: SamplerStats) -> float:
    """Ticks served per second."""
    return stats["ticks"] / (stats["elapsed_ns"] / 1e9) if stats["elapsed_ns"] else 0.0


def coverage(stats: SamplerStats) -> float | None:
    """The share of the planned samples that were taken. None: no sample was planned yet."""
    ticks = stats["ticks"] + stats["missed"]
    if not stats["attempted"] or not ticks:
        return None
    return stats["taken"] / stats["attempted"] * stats["ticks"] / ticks


def not_sampled_ns(stats: SamplerStats) -> int:
    """How long no thread was sampled. The last look stands for an interval that the process need not have lived to the
    end of.
    """
    return min(stats["not_sampled_ns"], stats["elapsed_ns"])


def lost_samples(stats: SamplerStats) -> int:
    return stats["torn"] + stats["failed"] + stats["vanished"]


def losses(stats: SamplerStats) -> str:
    """Losses by cause: `none lost` or `lost 4: 3 torn, 1 vanished; ticks: 2 late`.

    `none lost` is only said of samples that exist.
    """
    causes = [
        f"{stats[cause]:,} {cause}" for cause in ("torn", "failed", "vanished") if stats[cause]
    ]
    ticks = [f"{stats[cause]:,} {cause}" for cause in ("late", "missed") if stats[cause]]
    nothing = "none lost" if stats["taken"] else "none taken"
    text = f"lost {lost_samples(stats):,}: {', '.join(causes)}" if causes else nothing
    if stats["given_up"]:
        text += f" ({plural(stats['given_up'], 'stop')} given up, because the target could not be"
        text += " stopped and read fast enough)"
    return f"{text}; ticks: {', '.join(ticks)}" if ticks else text


def pauses(stats: SamplerStats) -> str:
    """The histogram of stops as text: `half within 64 us, 99 % within 0.256 ms, at most 0.31 ms`."""
    bounds = {"half": 0.5, "99 %": 0.99}
    words = [
        f"{name} within {format_pause(pause_within_ns(stats, share))}"
        for name, share in bounds.items()
        if any(stats["stops"])
    ]
    return ", ".join([*words, f"at most {format_pause(stats['stop_ns_max'])}"])


def pause_within_ns(stats: SamplerStats, share: float) -> int:
    """The lowest bound of the histogram that is above this share of the stops, or the longest stop."""
    wanted = share * sum(stats["stops"])
    seen = 0
    for bucket, count in enumerate(stats["stops"][:-1]):
        seen += count
        if seen >= wanted:
            return min(1000 << bucket, stats["stop_ns_max"])
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
    """Formats with two digits, and never as 100 % if something is missing."""
    if not whole_ns:
        return "0 %"
    percent = 100 * part_ns / whole_ns
    if 99 <= percent < 100:
        return f"{min(percent, 99.99):.4g} %"
    return f"{percent:.3g} %" if percent >= 100 else f"{percent:.2g} %"


def plural(count: int, noun: str, ending: str = "s") -> str:
    """`1 sample`, `2,000 samples`."""
    return f"{count:,} {noun}{'' if count == 1 else ending}"
