from __future__ import annotations

import os
import signal

import pytest

from pystack_profiler import interruption
from pystack_profiler.interruption import Abandoned, Interruption


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_is_a_request(number: int) -> None:
    before = signal.getsignal(number)
    with Interruption() as requests:
        assert not requests.requested
        os.kill(os.getpid(), number)
        assert requests.requested
    assert signal.getsignal(number) == before


def test_signals_that_come_together_are_one_request() -> None:
    with Interruption() as requests:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert requests.requested


def test_a_later_signal_abandons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruption, "_SAME_REQUEST_S", 0.0)
    with Interruption():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Abandoned) as raised:
            os.kill(os.getpid(), signal.SIGTERM)
        assert raised.value.exit_status == 143


def test_signals_are_passed_on_once_and_also_late() -> None:
    received: list[int] = []
    with Interruption() as requests:
        requests.pass_on(received.append)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
    assert received == [signal.SIGTERM]
    with Interruption() as requests:
        os.kill(os.getpid(), signal.SIGINT)
        requests.pass_on(received.append)
    assert received == [signal.SIGTERM, signal.SIGINT]


def test_an_ignored_hang_up_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interruption() as requests:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not requests.requested
    finally:
        signal.signal(signal.SIGHUP, before)
