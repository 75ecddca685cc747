"""Downloads one file by HTTP, with limits for the whole download.

A server can send its headers or a chunk size byte by byte, and a name can have many addresses. Socket
timeouts restart with each byte and address, so a thread receives the file and the caller watches the
clock.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urljoin, urlsplit

#: As in elfutils: a server that sends less than this within the timeout is skipped.
LEAST_BYTES = 100 * 1024

_CHUNK_BYTES = 256 * 1024
_MAX_REDIRECTS = 10
_REDIRECTS = (301, 302, 303, 307, 308)
_SCHEMES = ("http", "https")
_POLL_S = 0.1

#: Called with the number of bytes received, and the total if it is known.
Progress = Callable[[int, "int | None"], None]


class Limits(NamedTuple):
    """Limits for one file."""

    #: Seconds for the first 100 KiB, including connecting, and for each further 100 KiB.
    stall_s: float
    #: On the clock of `time.monotonic()`; None: no limit.
    deadline_s: float | None
    max_bytes: int | None


class NotFound(Exception):
    """The server has no such file."""


class DiskError(Exception):
    """The received data cannot be written. The message is the reason."""


class Stalled(TimeoutError):
    """Too little was received within `stall_s`: only `received` bytes of the file."""

    def __init__(self, received: int) -> None:
        super().__init__()
        self.received = received


class TooLate(TimeoutError):
    """The deadline has passed."""


def download(
    url: str, descriptor: int, *, headers: Mapping[str, str], limits: Limits, progress: Progress
) -> None:
    """Downloads `url` to an open file.

    Redirects are followed to http and https only; other servers do not receive `headers`. Raises
    NotFound, DiskError, a TimeoutError of this module, or another OSError with a reason.
    """
    transfer = _Transfer(url, descriptor, headers, limits)
    transfer.start()
    try:
        begin_s, received_then = time.monotonic(), 0
        while not transfer.done.wait(_POLL_S):
            received, now_s = transfer.received, time.monotonic()
            progress(received, transfer.total)
            if received - received_then >= LEAST_BYTES:
                begin_s, received_then = now_s, received
            elif now_s - begin_s > limits.stall_s:
                raise Stalled(received)
            if limits.deadline_s is not None and now_s > limits.deadline_s:
                raise TooLate
    except BaseException:
        transfer.abandon()
        raise
    if transfer.failure is not None:
        raise transfer.failure
    progress(transfer.received, transfer.total)


class _Transfer(threading.Thread):
    """Receives a file. An abandoned transfer ends soon; nobody waits for it."""

    def __init__(
        self, url: str, descriptor: int, headers: Mapping[str, str], limits: Limits
    ) -> None:
        super().__init__(name="pystack download", daemon=True)
        self._url = url
        self._headers = headers
        self._limits = limits
        # A duplicate, because the caller closes its own descriptor when it gives up.
        self._descriptor = os.dup(descriptor)
        self._connections: list[_Connection] = []
        self._is_abandoned = False
        self.done = threading.Event()
        self.received = 0
        self.total: int | None = None
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            with self._open() as response:
                self._receive(response)
        except (NotFound, DiskError, OSError) as error:  # urllib's errors are OSErrors.
            self.failure = Stalled(self.received) if _is_timeout(error) else error
        except Exception as error:  # http.client's errors about invalid responses.
            self.failure = OSError(f"{type(error).__name__}: {error}")
        finally:
            os.close(self._descriptor)
            self.done.set()

    def abandon(self) -> None:
        self._is_abandoned = True
        for connection in self._connections:
            connection.cut()

    def _open(self) -> Any:
        """The response after all redirects."""
        opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
            urllib.request.UnknownHandler(),
            _Handler(self._connect),
        ):
            opener.add_handler(handler)
        url, headers = self._url, dict(self._headers)
        for _ in range(_MAX_REDIRECTS + 1):
            request = urllib.request.Request(url, headers=headers)
            try:
                return opener.open(request, timeout=self._limits.stall_s)
            except urllib.error.HTTPError as error:
                # The body is not read: it may be endless.
                error.close()
                place = error.headers.get("Location") if error.code in _REDIRECTS else None
                if error.code == http.client.NOT_FOUND:
                    raise NotFound from None
                if place is None:
                    raise OSError(f"HTTP {error.code} {error.reason}") from None
                following = urljoin(url, place)
                if urlsplit(following).scheme not in _SCHEMES:
                    raise OSError(
                        f"HTTP {error.code} to a URL that is not http or https: {following}"
                    ) from None
            if _server(following) != _server(url):
                headers = {}
            url = following
        raise OSError(f"more than {_MAX_REDIRECTS} redirects")

    def _connect(self, connection: _Connection) -> None:
        self._connections.append(connection)
        if self._is_abandoned:
            raise TimeoutError

    def _receive(self, response: Any) -> None:
        limit = self._limits.max_bytes
        self.total = response.length
        self._check_size(self.total or 0, limit)
        while chunk := response.read1(_CHUNK_BYTES):
            if self._is_abandoned:
                raise TimeoutError
            self._check_size(self.received + len(chunk), limit)
            self._write(chunk)
            self.received += len(chunk)
        if self.total is not None and self.received != self.total:
            raise OSError(f"only {self.received} of {self.total} bytes were received")
        if self.received == 0:
            raise OSError("the file is empty")

    def _check_size(self, size: int, limit: int | None) -> None:
        if limit is not None and size > limit:
            raise OSError(f"the file has more than {limit} bytes")

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
        except OSError as error:
            raise DiskError(error.strerror) from None


class _Connection(http.client.HTTPConnection):
    """A connection that another thread can cut at any time."""

    _connected: socket.socket | None = None

    def connect(self) -> None:
        super().connect()
        # urllib drops its reference to the socket when the body begins.
        self._connected = self.sock

    def cut(self) -> None:
        for sock in (self.sock, self._connected):
            if sock is not None:
                with contextlib.suppress(OSError):
                    # TLS sockets, too: their own shutdown() would drop the state that the reader uses.
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)


class _EncryptedConnection(_Connection, http.client.HTTPSConnection):
    pass


class _Handler(urllib.request.AbstractHTTPHandler):
    """Opens http and https URLs, and calls `on_connect` before each connection is made."""

    def __init__(self, on_connect: Callable[[_Connection], None]) -> None:
        super().__init__()
        self._on_connect = on_connect
        self.http_request = self.https_request = self.do_request_

    def http_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(self._made(_Connection), request)

    def https_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(self._made(_EncryptedConnection), request)

    def _made(self, kind: type[_Connection]) -> Any:
        def make(host: str, **options: Any) -> _Connection:
            connection = kind(host, **options)
            self._on_connect(connection)
            return connection

        return make


def _server(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _is_timeout(error: Exception) -> bool:
    return isinstance(error, TimeoutError) or isinstance(
        getattr(error, "reason", None), TimeoutError
    )
