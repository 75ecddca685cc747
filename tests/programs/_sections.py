"""Functions that have the with block of a lock, and are suspended in it."""

import contextlib


@contextlib.contextmanager
def section(lock):
    with lock:
        yield


@contextlib.contextmanager
def section_in_section(lock):
    with section(lock):
        yield
