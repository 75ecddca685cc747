from __future__ import annotations

import pytest

from pystack_profiler.short_paths import short_paths


@pytest.mark.parametrize(
    ("files", "short"),
    [
        (["/srv/app.py", "x.py", ""], ["app.py", "x.py", ""]),
        (["/a/b/c.py", "/a/d/c.py", "/a/d/e.py"], ["b/c.py", "d/c.py", "e.py"]),
        (["/s/a/x/c.py", "/s/b/x/c.py"], ["a/x/c.py", "b/x/c.py"]),
        (["/lib/shop/__init__.py", "__main__.py"], ["shop/__init__.py", "__main__.py"]),
        (["/a.py"], ["a.py"]),
        (["/a.py", "a.py"], ["/a.py", "a.py"]),
        (["/b/a.py", "b/a.py", "a.py"], ["/b/a.py", "b/a.py", "a.py"]),
        (["//a.py", "/a.py"], ["//a.py", "/a.py"]),
    ],
)
def test_the_end_that_tells_files_apart(files: list[str], short: list[str]) -> None:
    assert [*short_paths(files).values()] == short


def test_long_paths_are_compared_for_a_few_folders_only() -> None:
    files = [f"/{name}{'/x' * 1000}/f.py" for name in "ab"]
    assert short_paths(files) == dict(zip(files, files, strict=True))
