"""Sends a recording to a server: as pprof to a Pyroscope-compatible one, as OTLP to an OpenTelemetry collector.

The path of the URL says which. Nothing is sent a second time, and no redirect is followed: it would take the
token to another server.
"""

from __future__ import annotations

import gzip
import http.client
import io
import json
import os
import secrets
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from pystack.errors import InvalidArgument
from pystack.render.escape import escape

from .exporters import otlp, pprof, with_tasks_as_threads
from .exporters.protobuf import rejected_profiles
from .naming import process_name
from .profile import Recording
from .view import DEFAULT_VIEW, View

TOKEN, TENANT, NAME = "PYSTACK_PUSH_TOKEN", "PYSTACK_PUSH_TENANT", "OTEL_SERVICE_NAME"

_INGEST, _PROFILES = "/ingest", "/v1development/profiles"
_TIMEOUT_S = 30.0  # for connecting, and for each part of the answer
_MOST_ANSWER = 64 * 1024
_SHOWN_ANSWER = 200


class PushError(Exception):
    """The recording was not accepted. The message is the reason."""


@dataclass(frozen=True, slots=True)
class PushTarget:
    """A server."""

    url: str
    kind: str  # the end of its path
    token: str | None = field(default=None, repr=False)
    tenant: str | None = None
    name: str | None = None  # of the service; None: that of the recorded program

    @classmethod
    def of(cls, url: str, environment: Mapping[str, str] = os.environ) -> PushTarget:
        """Raises InvalidArgument if it is no URL of a kind that is known."""
        try:
            parts = urlsplit(url)
            is_known = parts.scheme in ("http", "https") and bool(parts.hostname)
            is_known = is_known and parts.port != 0 and not any(map(str.isspace, url))
            has_password = parts.username is not None
        except ValueError:
            is_known = has_password = False
        if not is_known:
            raise InvalidArgument(f"{url!r} is not an http or https URL")
        if has_password:
            raise InvalidArgument(
                "the URL contains a password",
                hint=f"Command lines can be seen by others. Put a token into {TOKEN}.",
            )
        path = parts.path.rstrip("/")
        kind = next((known for known in (_INGEST, _PROFILES) if path.endswith(known)), None)
        if parts.query or parts.fragment:
            raise InvalidArgument(f"{url!r} has more than a path: nothing may follow it")
        if kind is None:
            raise InvalidArgument(
                f"cannot tell what {url!r} accepts",
                hint=f"End it with {_INGEST} (Pyroscope: pprof) or {_PROFILES} (OpenTelemetry: OTLP).",
            )
        return cls(
            url.rstrip("/"),
            kind,
            _header_value(environment, TOKEN),
            _header_value(environment, TENANT),
            environment.get(NAME) or None,
        )

    def push(self, recording: Recording, view: View = DEFAULT_VIEW) -> None:
        """Raises PushError."""
        make = _pprof_request if self.kind == _INGEST else _otlp_request
        url, headers, body = make(self, *with_tasks_as_threads(recording, view))
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        if self.tenant is not None:
            headers["X-Scope-OrgID"] = self.tenant
        answer = _post(urllib.request.Request(url, body, headers, method="POST"))
        rejected = rejected_profiles(answer) if self.kind == _PROFILES else None
        if rejected is not None:
            count, reason = rejected
            raise PushError(f"the server rejected {count} profiles: {_shown(reason)}")


def _header_value(environment: Mapping[str, str], variable: str) -> str | None:
    """Raises InvalidArgument, without the value, which is secret."""
    value = environment.get(variable, "").strip()
    if not (value.isascii() and value.isprintable()) and value:
        raise InvalidArgument(f"{variable} has characters that a header of HTTP cannot have")
    return value or None


def _service_name(target: PushTarget, recording: Recording) -> str:
    return target.name or process_name(recording.command)


def _pprof_request(
    target: PushTarget, recording: Recording, view: View
) -> tuple[str, dict[str, str], bytes]:
    content = io.BytesIO()
    pprof.export(recording, content, view)
    begin_s = recording.start_time_ns // 10**9
    end_ns = recording.start_time_ns + recording.duration_ns
    # Braces begin the labels of a name.
    name = _service_name(target, recording).translate({ord(brace): "_" for brace in "{}"})
    query = urlencode(
        {
            "name": name,
            "from": begin_s,
            "until": max(begin_s + 1, -(-end_ns // 10**9)),
            "format": "pprof",
            "sampleRate": max(1, round(recording.rate_hz)),
            "spyName": "pystack",
        }
    )
    types = {
        name: {"units": unit, "display-name": name, "aggregation": "sum", "sampled": False}
        for name, unit in pprof.VALUES
    }
    boundary = f"pystack-{secrets.token_hex(16)}"
    body = _form(
        boundary,
        {
            "profile": ("profile.pb.gz", content.getvalue()),
            "sample_type_config": ("config.json", json.dumps(types).encode()),
        },
    )
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    return f"{target.url}?{query}", headers, body


def _form(boundary: str, files: Mapping[str, tuple[str, bytes]]) -> bytes:
    parts = []
    for name, (filename, content) in files.items():
        parts.append(
            f"--{boundary}\r\n"
            f'Content-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n".encode()
        )
        parts += [content, b"\r\n"]
    return b"".join([*parts, f"--{boundary}--\r\n".encode()])


def _otlp_request(
    target: PushTarget, recording: Recording, view: View
) -> tuple[str, dict[str, str], bytes]:
    content = io.BytesIO()
    otlp.export(recording, content, view, service_name=target.name)
    headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
    return target.url, headers, gzip.compress(content.getvalue(), 6)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _post(request: urllib.request.Request) -> bytes:
    """Returns the answer."""
    opener = urllib.request.build_opener(_NoRedirects)
    try:
        with opener.open(request, timeout=_TIMEOUT_S) as response:
            answer: bytes = response.read(_MOST_ANSWER)
            return answer
    except urllib.error.HTTPError as error:
        with error:
            raise PushError(_refusal(error)) from None
    except TimeoutError:
        raise PushError(f"no answer within {_TIMEOUT_S:g} s") from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise PushError(f"no connection within {_TIMEOUT_S:g} s") from None
        reason = getattr(error.reason, "strerror", None) or str(error.reason)
        raise PushError(escape(reason)) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise PushError(escape(str(error)) or type(error).__name__) from None


def _refusal(error: urllib.error.HTTPError) -> str:
    try:
        answer = error.read(_MOST_ANSWER).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        answer = ""
    text = f"HTTP status {error.code} {escape(error.reason or '')}".rstrip()
    if 300 <= error.code < 400:
        where = escape(error.headers.get("Location") or "nowhere")
        return f"{text}: redirected to {where}; give that URL if it is yours"
    if error.code in (401, 403):
        text += f" (token: {TOKEN}, tenant: {TENANT})"
    return f"{text}: {_shown(answer)}" if answer.strip() else text


def _shown(answer: str) -> str:
    line = escape(" ".join(answer.split()))
    return line if len(line) <= _SHOWN_ANSWER else f"{line[: _SHOWN_ANSWER - 1]}…"
