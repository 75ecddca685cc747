"""Every scene that can share a process, each in its own thread.

Usage: stage.py TRUTH_FILE
"""

import sys

import _truth
import scenes_c
import scenes_calls
import scenes_code
import scenes_generators
import scenes_names
import scenes_syntax
import scenes_threads

MODULES = (
    scenes_c,
    scenes_calls,
    scenes_code,
    scenes_generators,
    scenes_names,
    scenes_syntax,
    scenes_threads,
)

STAGE = None


def main():
    global STAGE
    STAGE = stage = _truth.Stage(sys.argv[1])
    sys.setrecursionlimit(5000)
    # Importing this module again, as the one imported below does, must find this one.
    sys.modules["stage"] = sys.modules[__name__]
    stage.skipped.update(_truth.SKIPPED)
    for name, function, options in _truth.SCENES:
        stage.play(function, name=name, **options)
    scenes_threads.start_others(stage)
    scenes_c.start_foreign_threads(stage)
    stage.tell()
    import blocks_at_import  # noqa: F401


if __name__ == "__main__":
    main()
