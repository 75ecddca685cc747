"""Known shares of time: half, third, seventh and rest take about 50, 30, 15 and 5 ms in turn.

What they took indeed, on a machine that has other things to do, is written in the end.

Usage: shares.py SECONDS SHARES_FILE
"""

import json
import sys
import time

CYCLE_S = 0.1


def half(until):
    return spin(until)


def third(until):
    return spin(until)


def seventh(until):
    return spin(until)


def rest(until):
    return spin(until)


def spin(until):
    while True:
        now = time.monotonic()
        if now >= until:
            return now


def main():
    ends = ((half, 0.50), (third, 0.80), (seventh, 0.95), (rest, 1.00))
    taken = dict.fromkeys((function.__name__ for function, _ in ends), 0.0)
    begin = before = time.monotonic()
    end = begin + float(sys.argv[1])
    while begin < end:
        for function, share in ends:
            now = function(begin + share * CYCLE_S)
            taken[function.__name__] += now - before
            before = now
        begin += CYCLE_S
    with open(sys.argv[2], "w") as file:
        json.dump(taken, file)


if __name__ == "__main__":
    main()
