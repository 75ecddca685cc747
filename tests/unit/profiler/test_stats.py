from __future__ import annotations

from profiler_fakes import MS, stats
from pystack_profiler.stats import (
    achieved_rate_hz,
    coverage,
    format_rate,
    format_share,
    format_time,
    losses,
    pauses,
)


def test_losses_name_every_cause_that_happened() -> None:
    assert losses(stats(taken=1)) == "none lost"
    assert losses(stats(torn=3, vanished=1)) == "lost 4: 3 torn, 1 vanished"
    assert losses(stats(failed=2, late=1_500, missed=7)) == (
        "lost 2: 2 failed; ticks: 1,500 late, 7 missed"
    )
    assert losses(stats(taken=1, missed=7)) == "none lost; ticks: 7 missed"


def test_without_samples_nothing_is_said_to_be_complete() -> None:
    assert losses(stats()) == "none taken"
    assert losses(stats(missed=7)) == "none taken; ticks: 7 missed"
    assert losses(stats(failed=2, given_up=2)) == (
        "lost 2: 2 failed (2 stops given up, because the target could not be stopped and read"
        " fast enough)"
    )


def test_coverage_counts_failed_samples_and_missed_ticks() -> None:
    assert coverage(stats()) is None
    assert coverage(stats(attempted=200, taken=200, ticks=100)) == 1
    assert coverage(stats(attempted=200, taken=150, ticks=100)) == 0.75
    assert coverage(stats(attempted=200, taken=150, ticks=100, missed=300)) == 0.75 / 4


def test_pauses_are_the_histogram_in_words() -> None:
    assert pauses(stats()) == "at most 0 us"
    stops = [0] * 22
    stops[6], stops[8], stops[21] = 97, 2, 1  # below 64 us, 256 us, and those without a bound
    longest_ns = 3_000 * MS
    assert pauses(stats(stops=stops, stop_ns_max=longest_ns)) == (
        "half within 64 us, 99 % within 0.256 ms, at most 3.0 s"
    )
    stops[21] = 5
    assert "99 % within 3.0 s" in pauses(stats(stops=stops, stop_ns_max=longest_ns))
    stops[21] = 0  # no bound is above the longest one
    assert pauses(stats(stops=stops, stop_ns_max=MS // 5)).endswith(
        "99 % within 0.2 ms, at most 0.2 ms"
    )


def test_rates() -> None:
    assert achieved_rate_hz(stats(ticks=250, elapsed_ns=2_500 * MS)) == 100
    assert achieved_rate_hz(stats()) == 0
    assert [format_rate(rate) for rate in (0.5, 99.96, 1000, 12_345)] == [
        "0.5 Hz",
        "99.96 Hz",
        "1 kHz",
        "12.35 kHz",
    ]


def test_shares_round_nothing_away() -> None:
    shares = [(0, 1), (1, 1), (1, 3), (99_996, 100_000), (99_999_999, 10**8), (1, 10**4), (5, 0)]
    assert [format_share(part, whole) for part, whole in shares] == [
        "0 %",
        "100 %",
        "33 %",
        "99.99 %",
        "99.99 %",
        "0.01 %",
        "0 %",
    ]


def test_times() -> None:
    assert [
        format_time(time_ns) for time_ns in (0, 250_000, 12 * MS, 2500 * MS, 3_600_000 * MS)
    ] == [
        "0 ms",
        "0.25 ms",
        "12 ms",
        "2.5 s",
        "3,600.0 s",
    ]
