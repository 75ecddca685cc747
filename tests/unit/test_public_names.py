import re
from pathlib import Path

import pystack
import pystack.api
from pystack import errors

ROOT = Path(__file__).parents[2]


def test_public_names() -> None:
    assert pystack.__all__ == [
        "CoreDetails",
        "CoreModule",
        "Debuginfod",
        "Frame",
        "Gap",
        "Holder",
        "Interpreter",
        "Locals",
        "Native",
        "NativeFrame",
        "PystackError",
        "Sampler",
        "Snapshot",
        "Thread",
        "Variable",
        "Wait",
        "__version__",
        "dump",
        "dump_core",
        "errors",
        "open_sampler",
    ]
    assert set(pystack.__all__) <= set(dir(pystack))
    for name in set(pystack.__all__) - {"Sampler"}:  # which is in the extension
        assert getattr(pystack, name) is not None


def test_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(pystack, "no_such_name")
    assert not hasattr(pystack.api, "no_such_name")


def test_version_is_that_of_the_package() -> None:
    settings = (ROOT / "pyproject.toml").read_text()
    written = re.search(r'^version = "(.*)"$', settings, re.MULTILINE)
    assert written is None or written[1] == pystack.__version__


def test_error_tree_is_drawn_in_full() -> None:
    classes = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.PystackError)
    }
    drawn = set(re.findall(r"^ *[│├└─ ]*([A-Z]\w+)", errors.__doc__ or "", re.MULTILINE))
    assert classes <= drawn
