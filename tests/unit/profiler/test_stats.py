from __future__ import annotations

from profiler_fakes import MS, BatchWriter, Frame, profile_of, stats
from pystack_profiler.stats import achieved_rate_hz, details, format_rate, losses, summary


def test_losses_name_every_cause_that_happened() -> None:
    assert losses(stats()) == "none lost"
    assert losses(stats(torn=3, vanished=1)) == "lost 4: 3 torn, 1 vanished"
    assert losses(stats(failed=2, late=1_500, missed=7)) == (
        "lost 2: 2 failed; ticks: 1,500 late, 7 missed"
    )
    assert losses(stats(missed=7)) == "none lost; ticks: 7 missed"


def test_rates() -> None:
    assert achieved_rate_hz(stats(ticks=250, elapsed_ns=2_500 * MS)) == 100
    assert achieved_rate_hz(stats()) == 0
    assert [format_rate(rate) for rate in (0.5, 99.96, 1000, 12_345)] == [
        "0.5 Hz",
        "99.96 Hz",
        "1 kHz",
        "12.35 kHz",
    ]


def test_the_summary_line() -> None:
    writer = BatchWriter()
    thread = writer.thread(100)
    for tick in range(1, 101):
        writer.sample(thread, tick * 10 * MS, 10 * MS, [Frame("f")])
    profile = profile_of(writer, ticks=99, elapsed_ns=1000 * MS, torn=1, stop_ns_max=250_000)
    profile.metadata.tool_cpu_ns = 4 * MS
    assert summary(profile) == (
        "100 samples of 1 thread in 1.0 s at 99 Hz (asked 100 Hz); lost 1: 1 torn; tool CPU 0.4 %"
    )
    profile.metadata.stops_target = True
    assert summary(profile).endswith("; target stopped 0 %, at most 0.25 ms at once")


def test_an_empty_profile_has_a_summary() -> None:
    profile = profile_of(BatchWriter())
    assert summary(profile).startswith("0 samples of 0 threads in 0 ms")
    profile.stats = None
    assert summary(profile) == "0 samples of 0 threads in 0 ms"


def test_details_name_threads_without_trusting_their_names() -> None:
    writer = BatchWriter()
    writer.sample(writer.thread(7, "evil\x1b[31m"), MS, MS, [Frame("f")])
    text = "\n".join(details(profile_of(writer)))
    assert 'thread 100/7 "evil\\x1b[31m": 1 sample,' in text
    assert "\x1b" not in text
