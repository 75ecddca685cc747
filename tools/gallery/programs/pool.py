"""A pool of processes, one of which has more to do than the others."""

import multiprocessing


def simulate(steps: int) -> int:
    state = 1
    for _ in range(steps):
        state = (state * 1103515245 + 12345) % 2**31
    return state


if __name__ == "__main__":
    with multiprocessing.Pool(3) as pool:
        print(pool.map(simulate, [4_000_000, 4_000_000, 4_000_000, 30_000_000], chunksize=1))
