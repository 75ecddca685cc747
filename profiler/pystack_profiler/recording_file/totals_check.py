"""Compares the sums that a file stores with its samples: a forged or damaged file could say one thing in a report and
another in the other formats.

Grouping a million samples by stack takes seconds. Instead, each row is weighted with a hash of its thread, stack, state and
wait, and the sums of these products are compared: one pass over each table. The hash differs each time, so that no file can
be made to fit it. All is modulo a prime, so that sums of billions of rows stay below 64 bits.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Collection

_PRIME = 32749
_HASH = "(({sum}) >> 12 & 65535)"  # The low bits of a product are the worst ones.


def check_totals(
    connection: sqlite3.Connection, wait_column: str, left_out: Collection[int]
) -> None:
    """Raises ValueError if `thread_total` and `stack_total` are not the sums of `sample` and `late_cpu`.

    `left_out`: threads, by their IDs in the file, that have samples but no sums. `wait_column`: the name of the column, or a
    constant. What follows from the order of the samples is not compared: time that was not sampled, and who was blamed for
    the GIL.
    """
    chance = random.SystemRandom()
    columns = ("(thread + 1)", "stack", "state", wait_column)
    terms = [f"{chance.randrange(1 << 28, 1 << 29)} * {column}" for column in columns]
    of_row, of_thread = _HASH.format(sum=" + ".join(terms)), _HASH.format(sum=terms[0])
    factor = chance.randrange(1, 256)  # so small that products of times stay below 64 bits

    def added(table: str, pairs: dict[tuple[str, str], str], where: str) -> list[int]:
        """The sum of each pair of columns, both weighted with a hash."""
        sums = [
            f"sum(({one} * {factor} + {other}) % {_PRIME} * {hashed})"
            for (one, other), hashed in pairs.items()
        ]
        row = connection.execute(f"SELECT {', '.join(sums)} FROM {table} WHERE {where}").fetchone()
        return [value or 0 for value in row]

    own = f"thread NOT IN ({', '.join(map(str, left_out))})" if left_out else "1"
    counts, cpu = ("samples", "weight_ns"), ("runnable_ns", "cpu_ns")
    both = {counts: of_row, cpu: of_thread}
    of_samples, cpu_of_samples = added("sample", both, own)
    (late,) = added("late_cpu", {cpu: of_thread}, own)
    # Gaps have no samples, and are not in the table of samples.
    of_totals, cpu_of_totals = added("stack_total", both, "samples <> 0")
    (left,) = added("thread_total", {("late_runnable_ns", "late_cpu_ns"): of_thread}, "1")
    differences = (of_samples - of_totals, cpu_of_samples + late - cpu_of_totals - left)
    if any(difference % _PRIME for difference in differences):
        raise ValueError("its sums are not those of its samples")
