"""What is got of debuginfod servers, kept and refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from debug_server import answering, debug_server
from pystack import debug_cache, debuginfod
from pystack.debuginfod import Debuginfod

BUILD_ID = "0123456789abcdef"


def test_a_file_is_loaded_once_and_kept(tmp_path: Path) -> None:
    content = b"x" * 700_000
    served = tmp_path / "served" / BUILD_ID
    served.mkdir(parents=True)
    (served / "debuginfo").write_bytes(content)
    told: list[tuple[str, str, int, int | None]] = []
    with debug_server(tmp_path / "served") as server:
        servers = Debuginfod(
            [server.url], cache=tmp_path / "cache", progress=lambda *what: told.append(what)
        )
        path = servers.fetch(BUILD_ID, "/usr/lib/libfoo.so")
        assert servers.fetch(BUILD_ID, "/usr/lib/libfoo.so") == path
        assert Debuginfod([server.url], cache=tmp_path / "cache").fetch(BUILD_ID, "") == path
        assert server.asked == [BUILD_ID]
    assert path == str(tmp_path / "cache" / BUILD_ID / "debuginfo")
    assert Path(path).read_bytes() == content
    assert [one.name for one in Path(path).parent.iterdir()] == ["debuginfo"]
    assert {what[0] for what in told} == {"/usr/lib/libfoo.so"}
    assert [what[2:] for what in (told[0], *told[-2:])] == [
        (0, None),
        (len(content), len(content)),
        (0, -1),
    ]


def test_that_there_is_none_is_kept_for_a_while(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with debug_server(tmp_path) as server:
        assert Debuginfod([server.url], cache=cache).fetch(BUILD_ID, "") is None
        assert Debuginfod([server.url], cache=cache).fetch(BUILD_ID, "") is None
        assert server.asked == [BUILD_ID]
        (cache / "cache_miss_s").write_text("0\n")  # as elfutils has it
        assert Debuginfod([server.url], cache=cache).fetch(BUILD_ID, "") is None
        assert server.asked == [BUILD_ID, BUILD_ID]


@pytest.mark.parametrize("build_id", ["", "../../etc", "ABCD", "12/34", "é"])
def test_what_is_no_build_id_is_not_asked_for(build_id: str, tmp_path: Path) -> None:
    with debug_server(tmp_path) as server:
        assert Debuginfod([server.url], cache=tmp_path / "cache").fetch(build_id, "") is None
        assert server.asked == []
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "Remote end closed connection without response"),
        (b"hello\r\n\r\n", "BadStatusLine"),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "HTTP 503 Busy"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nELF", "only 3 of 9 bytes were received"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "the file is empty"),
        (b"HTTP/1.1 302 Found\r\n\r\n", "HTTP 302 Found"),
    ],
)
def test_answers_that_make_no_sense(answer: bytes, reason: str, tmp_path: Path) -> None:
    warnings: list[str] = []
    with answering(lambda connection: connection.sendall(answer)) as url:
        servers = Debuginfod([url], cache=tmp_path, warn=warnings.append)
        assert servers.fetch(BUILD_ID, "") is None
        # It is not asked again: there is nobody to answer.
        assert servers.fetch(BUILD_ID[::-1], "") is None
    [warning] = warnings
    assert reason in warning
    # Whether it has the file is not known.
    assert not (tmp_path / BUILD_ID / "debuginfo").exists()


def test_settings(tmp_path: Path) -> None:
    assert debuginfod.configured_urls({}) == []
    assert debuginfod.configured_urls(
        {"DEBUGINFOD_URLS": " https://a http://b/ ima:c file:///"}
    ) == [
        "https://a",
        "http://b/",
    ]
    timeouts = {"": 10.0, "90": 90.0, "0.5": 0.5, "-1": 10.0, "0": 10.0, "soon": 10.0, "inf": 10.0}
    for text, seconds in timeouts.items():
        assert debuginfod.configured_timeout_s({"DEBUGINFOD_TIMEOUT": text}) == seconds
    for text, seconds_or_none in {"": 600.0, "5": 5.0, "0": None, "-1": 600.0, "x": 600.0}.items():
        found = debuginfod.configured_max_time_s({"DEBUGINFOD_MAXTIME": text})
        assert found == seconds_or_none
    for text, size in {"": 8 << 30, "1000": 1000, "0": None, "much": 8 << 30}.items():
        assert debuginfod.configured_max_bytes({"DEBUGINFOD_MAXSIZE": text}) == size
    assert debug_cache.default_cache({"DEBUGINFOD_CACHE_PATH": "/c"}) == Path("/c")
    home = {"HOME": str(tmp_path)}
    assert debug_cache.default_cache(home) == tmp_path / ".cache/debuginfod_client"
    assert debug_cache.default_cache({**home, "XDG_CACHE_HOME": "/x"}) == Path(
        "/x/debuginfod_client"
    )
    (tmp_path / ".debuginfod_client_cache").mkdir()
    assert debug_cache.default_cache(home) == tmp_path / ".debuginfod_client_cache"


def test_headers_from_a_file(tmp_path: Path) -> None:
    assert debuginfod.configured_headers({}) == {}
    file = tmp_path / "headers"
    file.write_text("X-One: 1\n\n \nno colon\nAuthorization:Bearer abc:def\nbad name: x\n")
    configured = {"DEBUGINFOD_HEADERS_FILE": str(file)}
    assert debuginfod.configured_headers(configured) == {
        "X-One": "1",
        "Authorization": "Bearer abc:def",
    }
    file.unlink()
    with pytest.raises(FileNotFoundError):
        debuginfod.configured_headers(configured)


def test_what_is_in_the_cache_is_used_when_a_server_has_failed(tmp_path: Path) -> None:
    (tmp_path / "12").mkdir()
    (tmp_path / "12/debuginfo").write_text("kept")
    with answering(lambda connection: None) as url:
        servers = Debuginfod([url], cache=tmp_path)
        assert servers.fetch(BUILD_ID, "") is None
    assert servers.fetch("12", "") == str(tmp_path / "12/debuginfo")
