"""Frames that hold every kind of value, and what a reader must say of each: values.py TRUTH_FILE

The truth file is that of `_truth.py` with `expected`: for each function the variables of its frame
(`_values.py`).
"""

import sys

import _truth
import values_builtins
import values_frames
import values_locks
import values_objects
from _values import EXPECTED, LIMITS

MODULES = (values_builtins, values_frames, values_locks, values_objects)


class ValuesStage(_truth.Stage):
    def truth(self, without, own=None):
        expected = [
            {"function": function, "file": file, "variables": rows}
            for (function, file), rows in sorted(EXPECTED.items())
        ]
        return dict(_truth.Stage.truth(self, without, own), expected=expected, limits=LIMITS)


STAGE = None


def main():
    global STAGE
    STAGE = stage = ValuesStage(sys.argv[1])
    stage.skipped.update(_truth.SKIPPED)
    for name, function, options in _truth.SCENES:
        stage.play(function, name=name, **options)
    stage.tell()
    stage.gate.wait()


if __name__ == "__main__":
    main()
