"""Multiplies matrices for ever, called by a C function that Python calls.

    blas.py NUMPY READY

NUMPY is the folder that has numpy. READY is written before the first multiplication.
"""

import os
import sys

numpy_folder, ready = sys.argv[1:]
sys.path.insert(0, numpy_folder)

import numpy  # noqa: E402 (it is there only now)

os.chdir(os.path.dirname(ready))  # where the kernel leaves the core
matrix = numpy.full((1000, 1000), 0.5)
product = numpy.empty_like(matrix)


def multiply():
    while True:
        numpy.matmul(matrix, matrix, out=product)


def key(item):
    multiply()


with open(ready, "w"):
    pass
sorted([1], key=key)
