"""Collects garbage most of its time.

Usage: garbage.py SECONDS
"""

import gc
import sys
import time


def collect():
    gc.collect()


def main():
    kept = [[number] for number in range(300000)]
    until = time.time() + float(sys.argv[1])
    while time.time() < until:
        collect()
    del kept


if __name__ == "__main__":
    main()
