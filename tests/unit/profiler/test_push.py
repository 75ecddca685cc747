"""Pushing to a server that checks what Pyroscope's and OpenTelemetry's receivers check."""

from __future__ import annotations

import gzip
import io
import json
import socket
import threading
from collections.abc import Callable, Iterator
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner, Result

from format_readers import Pprof
from pystack.errors import InvalidArgument
from pystack_profiler import exporters, push
from pystack_profiler.convert_cli import convert
from pystack_profiler.exporters.protobuf import bytes_field, number_field, rejected_profiles
from pystack_profiler.profile import Recording
from pystack_profiler.push import PushError, PushTarget
from pystack_profiler.sinks import FileSink
from pystack_profiler.view import View
from random_recordings import random_recording

START_NS = 1_790_000_000 * 10**9 + 5


def a_recording() -> Recording:
    recording = random_recording(1)
    recording.start_time_ns = START_NS
    return recording


class Receiver:
    """A server that keeps what it accepts, and says why it refuses the rest."""

    def __init__(self) -> None:
        self.accepted: list[tuple[str, bytes]] = []
        self.headers: list[dict[str, str]] = []
        self.status, self.answer, self.location = 200, b"", ""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.headers.append(dict(self.headers))
                parts = urlsplit(self.path)
                check = {"/ingest": check_pprof, "/v1development/profiles": check_otlp}[parts.path]
                problem = check(parts.query, dict(self.headers), body)
                if problem is None and outer.status == 200:
                    outer.accepted.append((self.path, body))
                self.send_response(outer.status if problem is None else 400)
                if outer.location:
                    self.send_header("Location", outer.location)
                answer = outer.answer if problem is None else problem.encode()
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def form_of(headers: dict[str, str], body: bytes) -> dict[str, bytes]:
    message = BytesParser().parsebytes(
        b"Content-Type: " + headers["Content-Type"].encode() + b"\r\n\r\n" + body
    )
    found = {}
    for part in message.walk():
        name, content = (
            part.get_param("name", header="content-disposition"),
            part.get_payload(decode=True),
        )
        if isinstance(name, str) and isinstance(content, bytes):
            found[name] = content
    return found


def check_pprof(query: str, headers: dict[str, str], body: bytes) -> str | None:
    """The rules of the server API's documentation: name, from and until are required, and the form has a profile."""
    fields = {name: values[0] for name, values in parse_qs(query).items()}
    if not fields.get("name"):
        return "name is required"
    if not int(fields["from"]) < int(fields["until"]) < 10**10:
        return "from and until are not Unix times in seconds"
    if fields.get("format") != "pprof" or int(fields["sampleRate"]) < 1:
        return "not a pprof of a known rate"
    form = form_of(headers, body)
    decoded = Pprof(form["profile"])
    types = json.loads(form["sample_type_config"])
    if set(types) != set(decoded.types):
        return "the types are not those of the profile"
    return None if decoded.samples else "no samples"


def check_otlp(query: str, headers: dict[str, str], body: bytes) -> str | None:
    from opentelemetry.proto.collector.profiles.v1development import profiles_service_pb2

    if query or headers.get("Content-Type") != "application/x-protobuf":
        return "wrong type"
    if headers.get("Content-Encoding") == "gzip":
        body = gzip.decompress(body)
    request = profiles_service_pb2.ExportProfilesServiceRequest.FromString(body)
    names = [
        attribute.value.string_value
        for resource in request.resource_profiles
        for attribute in resource.resource.attributes
        if attribute.key == "service.name"
    ]
    if len(names) != len(request.resource_profiles) or not all(names):
        return "a resource has no service.name"
    profiles = request.resource_profiles[0].scope_profiles[0].profiles
    return None if any(profile.samples for profile in profiles) else "no samples"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.mark.parametrize("path", ["/ingest", "/v1development/profiles", "/ingest/"])
def test_a_server_accepts_what_is_pushed(receiver: Receiver, path: str) -> None:
    PushTarget.of(receiver.url + path, {}).push(a_recording())
    assert len(receiver.accepted) == 1
    assert "Authorization" not in receiver.headers[0]


def test_the_profile_is_that_of_the_file(receiver: Receiver) -> None:
    recording = a_recording()
    PushTarget.of(f"{receiver.url}/ingest", {}).push(recording, View("cpu"))
    ((path, body),) = receiver.accepted
    stream = io.BytesIO()
    exporters.PPROF.export(recording, stream, View("cpu"))
    assert form_of(receiver.headers[0], body)["profile"] == stream.getvalue()
    fields = {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}
    assert fields["name"] == "app.py"
    assert fields["from"] == "1790000000"
    assert int(fields["until"]) - 1790000000 in (
        recording.duration_ns // 10**9,
        recording.duration_ns // 10**9 + 1,
    )


@pytest.mark.parametrize("path", ["/ingest", "/v1development/profiles"])
def test_token_tenant_and_name_come_from_the_environment(receiver: Receiver, path: str) -> None:
    environment = {
        "PYSTACK_PUSH_TOKEN": "secret",
        "PYSTACK_PUSH_TENANT": "team",
        "OTEL_SERVICE_NAME": "shop{a}",
    }
    target = PushTarget.of(receiver.url + path, environment)
    target.push(a_recording())
    assert receiver.headers[0]["Authorization"] == "Bearer secret"
    assert receiver.headers[0]["X-Scope-OrgID".title()] == "team" or (
        receiver.headers[0].get("X-Scope-OrgID") == "team"
    )
    assert "secret" not in repr(target)
    sent = gzip.decompress(receiver.accepted[0][1]) if path != "/ingest" else b""
    assert b"shop{a}" in sent or "name=shop_a_&" in receiver.accepted[0][0]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://host:4040", "End it with /ingest"),
        ("http://host/ingest?name=x", "more than a path"),
        ("http://host:no/ingest", "is not an http or https URL"),
        ("http://host/ingest /ingest", "is not an http or https URL"),
        ("ftp://host/ingest", "is not an http or https URL"),
        ("http:///ingest", "is not an http or https URL"),
        ("http://[::1/ingest", "is not an http or https URL"),
        ("http://me:secret@host/ingest", "PYSTACK_PUSH_TOKEN"),
    ],
)
def test_urls_that_are_refused(url: str, words: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        PushTarget.of(url, {})
    assert words in f"{caught.value} {caught.value.hint}"
    assert "secret" not in f"{caught.value} {caught.value.hint}"


def test_a_token_that_is_refused_is_not_shown() -> None:
    with pytest.raises(InvalidArgument, match="PYSTACK_PUSH_TOKEN has characters") as caught:
        PushTarget.of("http://host/ingest", {"PYSTACK_PUSH_TOKEN": "secret\r\nX-Evil: 1"})
    assert "secret" not in f"{caught.value}"
    # The last line end of a file is not meant.
    assert PushTarget.of("http://host/ingest", {"PYSTACK_PUSH_TOKEN": "secret\n"}).token == "secret"


def failure(receiver: Receiver, path: str = "/ingest") -> str:
    with pytest.raises(PushError) as caught:
        PushTarget.of(receiver.url + path, {"PYSTACK_PUSH_TOKEN": "secret"}).push(a_recording())
    return str(caught.value)


def test_refusals_say_what_the_server_says(receiver: Receiver) -> None:
    receiver.status, receiver.answer = 500, b"no \x1b[31mspace\n left" + 1000 * b"."
    assert failure(receiver).startswith(
        "HTTP status 500 Internal Server Error: no \\x1b[31mspace left.."
    )
    assert len(failure(receiver)) < 300
    receiver.status, receiver.answer = 401, b""
    assert failure(receiver) == (
        "HTTP status 401 Unauthorized (token: PYSTACK_PUSH_TOKEN, tenant: PYSTACK_PUSH_TENANT)"
    )


@pytest.mark.parametrize("status", [302, 307])
def test_redirects_are_not_followed(status: int, receiver: Receiver) -> None:
    """They would take the token with them."""
    receiver.status, receiver.location = status, f"{receiver.url}/ingest?elsewhere"
    assert "redirected to" in failure(receiver)
    assert len(receiver.headers) == 1


def test_rejected_profiles_are_an_error(receiver: Receiver) -> None:
    partial = number_field(1, 3) + bytes_field(2, b"too old")
    receiver.answer = bytes_field(1, partial)
    assert failure(receiver, "/v1development/profiles") == "the server rejected 3 profiles: too old"
    receiver.answer = bytes_field(1, b"")
    PushTarget.of(f"{receiver.url}/v1development/profiles", {}).push(a_recording())


@pytest.mark.parametrize("answer", [b"\x0a", b"\xff" * 20, b"{}", b"\x0a\x02\x08", b"\x0d\0\0\0\0"])
def test_answers_that_say_nothing(answer: bytes) -> None:
    assert rejected_profiles(answer) is None


def silent(sock: socket.socket) -> None:
    sock.recv(1)


def closing(sock: socket.socket) -> None:
    sock.close()


def talking(sock: socket.socket) -> None:
    sock.sendall(b"SSH-2.0-OpenSSH\r\n")
    sock.close()


@pytest.mark.parametrize("behaviour", [silent, closing, talking])
def test_servers_that_do_not_answer(
    behaviour: Callable[[socket.socket], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push, "_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept: list[socket.socket] = []

        def serve() -> None:
            kept.append(server.accept()[0])
            behaviour(kept[0])

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/ingest"
        with pytest.raises(PushError) as caught:
            PushTarget.of(url, {}).push(a_recording())
        thread.join()
        for sock in kept:
            sock.close()
    assert str(caught.value)


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/ingest"
    with pytest.raises(PushError, match="Connection refused"):
        PushTarget.of(url, {}).push(a_recording())


def converted(tmp_path: Path, *arguments: str) -> Result:
    path = str(tmp_path / "x.pystack")
    FileSink(path, exporters.PYSTACK).write(a_recording())
    return CliRunner().invoke(convert, [path, *arguments])


def test_convert_pushes_a_file(receiver: Receiver, tmp_path: Path) -> None:
    url = f"{receiver.url}/ingest"
    result = converted(tmp_path, "--push", url)
    assert (result.exit_code, result.stderr) == (0, f"pystack: pushed to {url}\n")
    receiver.status = 503
    result = converted(tmp_path, "--push", url, "-o", str(tmp_path / "x.svg"))
    assert result.exit_code == 1
    assert f"pystack: cannot push to {url}: HTTP status 503" in result.stderr
    assert (tmp_path / "x.svg").exists()
    result = converted(tmp_path)
    assert result.exit_code == 2
    assert "Give -o OUT or --push URL." in result.stderr
