"""What a target program says of its suspended coroutines.

Written for Python 3.6 to 3.15, like everything in this folder.
"""

import gc
import types

WRAPPERS = ("coroutine_wrapper", "async_generator_asend", "async_generator_athrow")


def chain(awaited):
    """The frames of a coroutine and of those that await each other below it."""
    while awaited is not None:
        for prefix in ("cr", "gi", "ag"):
            frame = getattr(awaited, prefix + "_frame", None)
            if frame is not None:
                yield frame
                name = {"cr": "cr_await", "gi": "gi_yieldfrom", "ag": "ag_await"}[prefix]
                awaited = getattr(awaited, name)
                break
        else:
            # Wrappers do not say what they wrap.
            inside = [
                one
                for one in gc.get_referents(awaited)
                if isinstance(
                    one, (types.CoroutineType, types.GeneratorType, types.AsyncGeneratorType)
                )
            ]
            is_wrapper = type(awaited).__name__ in WRAPPERS
            awaited = inside[0] if inside and is_wrapper else None


def variables(frame):
    """What the variables hold, by name; None where repr() is not what a reader shows."""
    return {
        name: repr(value) if is_plain(value) else None
        for name, value in frame.f_locals.items()
        # What older trio adds to that dict is no variable.
        if name.isidentifier()
    }


def is_plain(value):
    if type(value) in (list, tuple):
        return all(map(is_plain, value))
    if type(value) is dict:
        return all(is_plain(one) for item in value.items() for one in item)
    return type(value) in (int, str, bool, float, type(None))
