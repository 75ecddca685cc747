"""A share of the fuzzing with fixed seeds; the whole is `fuzz_cores.py` and `fuzz_live.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from core_files import need_kernel_cores
from marks import each_of
from security import fuzz_cores, fuzz_live
from targets import Interpreter

pytestmark = pytest.mark.live

SEED = 20
CORES = 120
LIVE_S = 5.0
MOST_ROUNDS = 6


@each_of(fuzz_cores.chosen_interpreters())
def test_damaged_cores(interpreter: Interpreter, tmp_path: Path) -> None:
    need_kernel_cores()
    outcome = fuzz_cores.fuzz(interpreter, CORES, SEED, tmp_path, keep=None)
    assert not outcome.failures
    # Or the damage is so bad that nothing behind the headers is ever read.
    assert sum(reading["error"] is None for reading in outcome.readings) > CORES / 2


@each_of(fuzz_live.chosen_interpreters())
def test_target_that_rewrites_itself(interpreter: Interpreter, tmp_path: Path) -> None:
    runs: list[fuzz_live.Run] = []
    # What can be read of such a target is chance; a busy machine has few tries in its time.
    for seed in range(SEED, SEED + MOST_ROUNDS):
        runs += fuzz_live.fuzz(interpreter, LIVE_S, seed, tmp_path)
        assert [run for run in runs if run.failure is not None] == []
        if any(run.status == 0 for run in runs):
            return
    pytest.fail(f"nothing was read: {fuzz_live.summary(runs)}")
