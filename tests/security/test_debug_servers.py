"""Debuginfod servers that want the tool to wait for ever, to fill the disk, or to send its secrets."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from debug_server import answering
from pystack.debuginfod import Debuginfod
from security.attackers import ATTACKER_ID, needs_root

BUILD_ID = "0123456789abcdef"
#: Of the tool, and how long it may take at most on a busy machine.
TIMEOUT_S = 1.0
BOUND_S = 10.0

Send = Callable[[socket.socket], object]


def drips(before: bytes, drop: bytes) -> Send:
    """Sends a little again and again, each in time, until the other side has gone."""

    def send(connection: socket.socket) -> None:
        connection.sendall(before)
        while True:
            connection.sendall(drop)
            time.sleep(TIMEOUT_S / 20)

    return send


def floods(before: bytes) -> Send:
    def send(connection: socket.socket) -> None:
        connection.sendall(before)
        while True:
            connection.sendall(bytes(1 << 20))

    return send


def asked(url: str, cache: Path, **options: object) -> tuple[str | None, list[str], float]:
    """The file, the warnings, and how long it took."""
    warnings: list[str] = []
    servers = Debuginfod([url], cache=cache, warn=warnings.append, **options)  # type: ignore[arg-type]
    begin_s = time.monotonic()
    path = servers.fetch(BUILD_ID, "")
    return path, warnings, time.monotonic() - begin_s


@pytest.mark.parametrize(
    "send",
    [
        drips(b"", b"H"),
        drips(b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"),
        drips(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        drips(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n", b"x"),
        drips(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
        drips(b"HTTP/1.1 302 Found\r\nLocation: ", b"x"),
    ],
    ids=["status", "header", "headers", "content", "chunk size", "redirect"],
)
def test_one_byte_at_a_time(send: Send, tmp_path: Path) -> None:
    threads = threading.active_count()
    with answering(send) as url:
        path, [warning], took_s = asked(url, tmp_path, timeout_s=TIMEOUT_S)
    assert path is None
    assert "(limit: timeout_s=...)" in warning
    assert TIMEOUT_S <= took_s < BOUND_S
    assert list((tmp_path / BUILD_ID).iterdir()) == []
    # Nor does a thread or a connection of ours wait on.
    deadline_s = time.monotonic() + BOUND_S
    while threading.active_count() > threads and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert threading.active_count() == threads


def test_enough_bytes_but_no_end(tmp_path: Path) -> None:
    """Each 100 KiB come in time. There is a limit for all of it."""

    def send(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            connection.sendall(bytes(1 << 20))
            time.sleep(0.05)

    with answering(send) as url:
        path, [warning], took_s = asked(url, tmp_path, timeout_s=60, max_time_s=TIMEOUT_S)
    assert path is None
    assert "took longer than 1 s (limit: max_time_s=...)" in warning
    assert took_s < BOUND_S


@pytest.mark.parametrize(
    ("send", "received"),
    [
        (floods(b"HTTP/1.1 200 OK\r\n\r\n"), 1_000_000),
        (floods(b"HTTP/1.1 200 OK\r\nContent-Length: 1000001\r\n\r\n"), 0),
    ],
    ids=["unannounced", "announced"],
)
def test_more_bytes_than_are_wanted(send: Send, received: int, tmp_path: Path) -> None:
    most = 0

    def progress(_: str, __: str, read: int, ___: int | None) -> None:
        nonlocal most
        most = max(most, read)

    with answering(send) as url:
        path, [warning], _ = asked(url, tmp_path, max_bytes=1_000_000, progress=progress)
    assert path is None
    assert "the file has more than 1000000 bytes" in warning
    assert most <= received
    assert list((tmp_path / BUILD_ID).iterdir()) == []


@pytest.mark.parametrize(
    "place", ["file:///etc/passwd", "ftp://127.0.0.1:1/x", "data:,x", "gopher://127.0.0.1/"]
)
def test_redirects_to_other_protocols(place: str, tmp_path: Path) -> None:
    answer = f"HTTP/1.1 302 Found\r\nLocation: {place}\r\n\r\n".encode()
    with answering(lambda connection: connection.sendall(answer)) as url:
        path, [warning], _ = asked(url, tmp_path)
    assert path is None
    assert "HTTP 302 to a URL that is not http or https" in warning


def test_redirects_without_end(tmp_path: Path) -> None:
    """Nor is the content of one read, which may have no end."""
    count = 0

    def serve(listener: socket.socket) -> None:
        nonlocal count
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                count += 1
                with connection, contextlib.suppress(OSError):
                    connection.recv(1 << 16)
                    connection.sendall(b"HTTP/1.1 301 Moved\r\nLocation: /x\r\n\r\n" + bytes(99))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=[listener])
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        path, [warning], _ = asked(url, tmp_path)
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert path is None
    assert "more than 10 redirects" in warning
    assert count == 11


def test_secret_headers_are_sent_to_no_other_server(tmp_path: Path) -> None:
    requests: list[bytes] = []

    def redirect_to(place: str) -> Send:
        def send(connection: socket.socket) -> None:
            connection.sendall(f"HTTP/1.1 302 Found\r\nLocation: {place}\r\n\r\n".encode())

        return send

    def end(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")

    headers = {"Authorization": "Bearer secret"}
    with (
        answering(end, requests) as other,
        answering(redirect_to(f"{other}/elsewhere"), requests) as url,
    ):
        path, warnings, _ = asked(url, tmp_path, headers=headers)
    assert (path, warnings) == (str(tmp_path / BUILD_ID / "debuginfo"), [])
    first, second = requests
    assert b"Authorization: Bearer secret\r\n" in first
    assert b"Authorization" not in second
    assert second.startswith(b"GET /elsewhere ")


@needs_root
def test_a_cache_where_others_can_write_is_not_used(tmp_path: Path) -> None:
    sticky = tmp_path / "sticky"
    sticky.mkdir()
    sticky.chmod(0o1777)
    for folder in (sticky, given_away_folder(sticky)):
        warnings: list[str] = []
        servers = Debuginfod(["http://127.0.0.1:1"], cache=folder / "cache", warn=warnings.append)
        (folder / "cache").mkdir()
        os.chown(folder / "cache", ATTACKER_ID, ATTACKER_ID)
        (folder / "cache/12").mkdir()
        (folder / "cache/12/debuginfo").write_text("hostile")
        assert servers.fetch("12", "") is None
        assert servers.fetch("34", "") is None
        [warning] = warnings
        assert "other users can write to it" in warning
        assert [one.name for one in (folder / "cache").iterdir()] == ["12"]


def given_away_folder(parent: Path) -> Path:
    folder = parent / "his"
    folder.mkdir()
    os.chown(folder, ATTACKER_ID, ATTACKER_ID)
    return folder
