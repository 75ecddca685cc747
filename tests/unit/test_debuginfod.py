"""What is got of debuginfod servers, kept and refused."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from debug_server import debug_server
from pystack import debuginfod
from pystack.debuginfod import Debuginfod

BUILD_ID = "0123456789abcdef"


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """The URL of a server that gives one request this answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 16)
                answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


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
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nELF", "3 of 9 bytes came"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "an empty file"),
        (b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n", "HTTP 302"),
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


def test_a_server_that_sends_too_little_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debuginfod, "_LEAST_BYTES", 1 << 60)
    warnings: list[str] = []

    def trickle(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
        try:
            while True:
                connection.sendall(b"x")
        except OSError:
            pass  # It was given up.

    with answering(trickle) as url:
        # Bytes that come one by one come in time each, but not enough of them.
        servers = Debuginfod([url], cache=tmp_path, timeout_s=1, warn=warnings.append)
        assert servers.fetch(BUILD_ID, "") is None
    [warning] = warnings
    assert "sent nothing for" in warning
    assert list((tmp_path / BUILD_ID).iterdir()) == []


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
    assert debuginfod.default_cache({"DEBUGINFOD_CACHE_PATH": "/c"}) == Path("/c")
    home = {"HOME": str(tmp_path)}
    assert debuginfod.default_cache(home) == tmp_path / ".cache/debuginfod_client"
    assert debuginfod.default_cache({**home, "XDG_CACHE_HOME": "/x"}) == Path(
        "/x/debuginfod_client"
    )
    (tmp_path / ".debuginfod_client_cache").mkdir()
    assert debuginfod.default_cache(home) == tmp_path / ".debuginfod_client_cache"
