"""Two transfers that each hold the lock that the other wants."""

import os
import threading


class Account:
    def __init__(self) -> None:
        self.lock = threading.Lock()


def transfer(source: Account, target: Account, barrier: threading.Barrier) -> None:
    with source.lock:
        barrier.wait()
        with target.lock:
            pass


def main() -> None:
    first, second = Account(), Account()
    barrier = threading.Barrier(3)
    threads = [
        threading.Thread(target=transfer, args=(first, second, barrier), name="pay-1"),
        threading.Thread(target=transfer, args=(second, first, barrier), name="pay-2"),
    ]
    for thread in threads:
        thread.start()
    barrier.wait()
    print(os.getpid(), flush=True)
    for thread in threads:
        thread.join()


main()
