"""How a program says what a reader must say of its variables.

Expected texts are repr() of the target itself wherever the rules of docs/locals.md say so, which is
the default; where they say something else the text is spelt out beside the value. The reader's
limits must be those of LIMITS.

Written for Python 3.6 to 3.15, like everything in this folder.
"""

import sys

LIMITS = {"max_depth": 4, "max_items": 20, "max_string": 200}
INT_DIGITS = 1000

# By function and file: the variables of the frame, {name, kind, value, type, redacted}; a value of
# None is not compared.
EXPECTED = {}
# What must stay alive although no frame holds it.
KEPT = []
REDACTED = object()


def expect(values, kinds=None, more=(), **texts):
    """To be called by a frame with its own locals(): what a reader must say of them.

    `kinds` of variables that are not plain locals; `texts` where they are not the repr().
    """
    code = sys._getframe(1).f_code
    rows = [
        variable(
            name, value, (kinds or {}).get(name, "positional" if name == "gate" else "local"), texts
        )
        for name, value in values.items()
    ]
    EXPECTED[code.co_name, code.co_filename] = rows + list(more)
    return rows


def variable(name, value, kind, texts):
    if name == "gate":
        texts = {"gate": None}
    text = texts[name] if name in texts else repr(value)
    redacted = text is REDACTED
    return {
        "name": name,
        "kind": kind,
        "value": None if redacted else text,
        "type": None if redacted else type_name(type(value)),
        "redacted": redacted,
    }


def type_name(cls):
    return (
        cls.__qualname__
        if cls.__module__ == "builtins"
        else cls.__module__ + "." + cls.__qualname__
    )


def at(value):
    """The text of what nothing is known of."""
    return "<{} at {}>".format(type_name(type(value)), hex(id(value)))


def plain(**attributes):
    """An instance of a class of its own: nobody else has a say in the order of its attributes."""
    instance = type("Plain", (object,), {"__module__": __name__})()
    for name, value in attributes.items():
        setattr(instance, name, value)
    return instance


class Split(object):
    def __init__(self):
        self.first = 1
        self.second = "two"
