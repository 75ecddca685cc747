"""A debuginfod server for tests, and modules without debug information of their own to ask it for."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def strip_into(module: Path, served: Path) -> str:
    """Moves the debug information and names of a module to the files that a server has. Gives its
    build id, in hex."""
    notes = subprocess.run(
        ["readelf", "--notes", module], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    build_id = notes.partition("Build ID: ")[2].split()[0]
    (served / build_id).mkdir(parents=True)
    debug_file = served / build_id / "debuginfo"
    subprocess.run(["objcopy", "--only-keep-debug", module, debug_file], check=True)
    subprocess.run(["strip", module], check=True)
    return build_id


class DebugServer:
    """Serves files under /buildid. `asked` has the build ids of the requests."""

    def __init__(self, served: Path, before: Callable[[], None]) -> None:
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                empty, root, build_id, kind = self.path.split("/")
                assert (empty, root, kind) == ("", "buildid", "debuginfo")
                outer.asked.append(build_id)
                before()
                file = served / build_id / kind
                if not file.exists():
                    self.send_error(404)
                    return
                content = file.read_bytes()
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextlib.contextmanager
def debug_server(served: Path, before: Callable[[], None] = lambda: None) -> Iterator[DebugServer]:
    """`before` is called when a request has come, before it is answered."""
    server = DebugServer(served, before)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def silent_server() -> Iterator[str]:
    """The URL of a server that takes requests and never answers one."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextlib.contextmanager
def answering(
    answer: Callable[[socket.socket], object], requests: list[bytes] | None = None
) -> Iterator[str]:
    """The URL of a server that gives one request this answer, and adds it to `requests`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                request = connection.recv(1 << 16)
                if requests is not None:
                    requests.append(request)
                with contextlib.suppress(ConnectionError):  # The client has given up.
                    answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()
