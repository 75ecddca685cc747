from __future__ import annotations

import pytest

from pystack.cli.declare import BadValue
from pystack_profiler import quantities


@pytest.mark.parametrize(
    ("text", "rate_hz"),
    [("100", 100), ("99.5", 99.5), ("1kHz", 1000), ("10k", 10_000), ("50 Hz", 50), ("0.1", 0.1)],
)
def test_rates(text: str, rate_hz: float) -> None:
    assert quantities.rate(text) == rate_hz


@pytest.mark.parametrize("text", ["", "fast", "-1", "0", "1e9", "2MHz", "1kk", "٣"])
def test_what_is_not_a_rate(text: str) -> None:
    with pytest.raises(BadValue):
        quantities.rate(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 30),
        ("30s", 30),
        ("500ms", 0.5),
        ("5m", 300),
        ("1h", 3600),
        ("1.5 s", 1.5),
        ("1m30s", 90),
        ("1h 30m", 5400),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert quantities.duration(text) == seconds


def test_no_limit_of_time() -> None:
    assert quantities.duration("unlimited") is None


@pytest.mark.parametrize("text", ["", "0", "soon", "-5", "5d", "1h30", "30 5", "0m0s", "1m-5s"])
def test_what_is_not_a_duration(text: str) -> None:
    with pytest.raises(BadValue):
        quantities.duration(text)


@pytest.mark.parametrize(
    ("text", "share"), [("20%", 0.2), ("0.5", 0.5), ("1", 1.0), ("2.5 %", 0.025)]
)
def test_shares(text: str, share: float) -> None:
    assert quantities.share(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["", "0", "20", "101%", "0.01%", "half", "-1%", "nan"])
def test_no_shares(text: str) -> None:
    with pytest.raises(BadValue, match="share"):
        quantities.share(text)
