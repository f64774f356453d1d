"""A web server on 127.0.0.1 that misbehaves on purpose, each resource in its own way.

    with HostileServer() as server:
        server.serve("aaaaaaaaaaa.mp4", path, "truncate-once")
        download(server.url_template.replace("{video_id}", "aaaaaaaaaaa"))
        assert server.count("aaaaaaaaaaa.mp4") == 3

Whatever is not served answers 404.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import unquote

if TYPE_CHECKING:
    from types import TracebackType

HTML_PAGE = b"<!DOCTYPE html><html><head><title>Sorry</title></head><body>No video.</body></html>\n"
TEXT = b"This is a text file and no video at all.\n" * 40
WRONG_LENGTH_EXTRA_BYTES = 4096

PRESETS: dict[str, tuple[str, int, int | None]] = {
    # A downloader that looks at a page first asks once for that and once more for the data.
    "truncate-once": ("truncate", 1, 1),
    "truncate-always": ("truncate", 0, None),
    "stall-once": ("stall", 1, 1),
    "503-twice": ("503", 0, 2),
}
"""Behaviours that come and go: (behaviour, good requests before, bad requests), None: for ever."""

BEHAVIOURS = (
    "good", "no-range", "wrong-type", "truncate", "stall", "drip", "no-length", "no-length-short",
    "wrong-length", "range-416", "range-always-new", "html", "html-as-video", "text", "redirect",
)  # fmt: skip
"""Besides the presets, and any status from 400 to 599 as text, such as "404"."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request that came.

    Attributes:
        method: GET or HEAD.
        name: the path without its first slash and without a query.
        headers: names in lower case.
    """

    method: str
    name: str
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Resource:
    """What is served under one name, and how badly; see `HostileServer.serve`."""

    content: bytes | Path
    behaviour: str = "good"
    after: int = 0
    times: int | None = None
    content_type: str = "video/mp4"
    location: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    chunk_bytes: int = 1024
    pause_seconds: float = 0.1

    def body(self) -> bytes:
        """Return the content as it is now."""
        return self.content.read_bytes() if isinstance(self.content, Path) else self.content


class HostileServer:
    """A threaded HTTP/1.1 server with ranges and ETags; everything is counted.

    As a context manager it serves inside the `with`; stalled answers end with it.
    """

    def __init__(self) -> None:
        self.closing = threading.Event()
        self.requests: list[Request] = []
        self._resources: dict[str, Resource] = {}
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True, name="hostile-server"
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        """The port, chosen by the system."""
        return int(self._server.server_address[1])

    @property
    def url_template(self) -> str:
        """What `[download] url_template` takes; videos are served as `ID.mp4`."""
        return self.url("{video_id}.mp4")

    def url(self, name: str) -> str:
        """Return the address of a name."""
        return f"http://127.0.0.1:{self.port}/{name}"

    def serve(
        self,
        name: str,
        content: bytes | Path = b"",
        behaviour: str = "good",
        *,
        after: int | None = None,
        times: int | None = None,
        content_type: str = "video/mp4",
        location: str = "",
        headers: dict[str, str] | None = None,
        chunk_bytes: int = 1024,
        pause_seconds: float = 0.1,
    ) -> str:
        """Serve `content` under `name`, replacing what was there, and return its address.

        Args:
            name: the path without its first slash.
            content: bytes, or a file that is read at each request.
            behaviour: one of `BEHAVIOURS`, of `PRESETS`, or a status such as "404".
            after: how many requests are answered well first.
            times: how many requests are answered badly then, None for all.
            content_type: what good answers say.
            location: where "redirect" leads.
            headers: more headers for every answer, such as Retry-After.
            chunk_bytes: what "drip" sends at once.
            pause_seconds: how long "drip" waits between.
        """
        kind, first, many = PRESETS.get(behaviour, (behaviour, 0, None))
        if kind not in BEHAVIOURS and not re.fullmatch("[45][0-9][0-9]", kind):
            known = ", ".join([*BEHAVIOURS, *PRESETS])
            raise ValueError(f"behaviour {behaviour!r} is none of {known}, nor a status")
        resource = Resource(
            content=content,
            behaviour=kind,
            after=first if after is None else after,
            times=many if times is None else times,
            content_type=content_type,
            location=location,
            headers=headers or {},
            chunk_bytes=chunk_bytes,
            pause_seconds=pause_seconds,
        )
        with self._lock:
            self._resources[name] = resource
        return self.url(name)

    def count(self, name: str) -> int:
        """Return how many requests came for a name."""
        with self._lock:
            return sum(1 for request in self.requests if request.name == name)

    def requests_of(self, name: str) -> list[Request]:
        """Return the requests for a name, in their order."""
        with self._lock:
            return [request for request in self.requests if request.name == name]

    def take(self, request: Request) -> tuple[Resource | None, str]:
        """Record a request; return its resource and how to behave now."""
        with self._lock:
            before = sum(1 for earlier in self.requests if earlier.name == request.name)
            self.requests.append(request)
            resource = self._resources.get(request.name)
        if resource is None:
            return None, "404"
        bad = before >= resource.after and (
            resource.times is None or before < resource.after + resource.times
        )
        return resource, resource.behaviour if bad else "good"


def _handler_of(server: HostileServer) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        hostile = server

    return Handler


class _Handler(BaseHTTPRequestHandler):
    hostile: HostileServer
    protocol_version = "HTTP/1.1"

    def handle(self) -> None:
        # A client that has seen enough hangs up; that is its right.
        with suppress(ConnectionError, TimeoutError):
            super().handle()

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *args: object) -> None:
        """Keep quiet; `HostileServer.requests` is the log."""

    def _answer(self) -> None:
        name = unquote(self.path.lstrip("/").partition("?")[0])
        headers = {key.lower(): value for key, value in self.headers.items()}
        request = Request(self.command, name, headers)
        resource, behaviour = self.hostile.take(request)
        if resource is None or behaviour.isdecimal():
            extra = resource.headers if resource else {}
            self._send(int(behaviour), b"refused\n", "text/plain", extra)
        elif behaviour == "redirect":
            self._send(302, b"", "text/plain", {**resource.headers, "Location": resource.location})
        elif behaviour in ("html", "html-as-video"):
            kind = "text/html; charset=utf-8" if behaviour == "html" else "video/mp4"
            self._send(200, HTML_PAGE, kind, resource.headers)
        elif behaviour == "text":
            self._send(200, TEXT, "text/plain", resource.headers)
        else:
            self._serve(resource, behaviour)

    def _serve(self, resource: Resource, behaviour: str) -> None:
        whole = resource.body()
        etag = f'"{hashlib.blake2b(whole, digest_size=8).hexdigest()}"'
        if behaviour == "range-always-new":
            etag = f'"{secrets.token_hex(8)}"'
        headers = {"ETag": etag, **resource.headers}
        start, stop = 0, len(whole)
        ranged = None if behaviour == "no-range" else self._range(len(whole), etag)
        if ranged == (-1, -1) or (behaviour == "range-416" and "Range" in self.headers):
            headers["Content-Range"] = f"bytes */{len(whole)}"
            self._send(416, b"", "text/plain", headers)
            return
        if behaviour != "no-range":
            headers["Accept-Ranges"] = "bytes"
        if ranged:
            start, stop = ranged
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(whole)}"
        kind = "text/plain" if behaviour == "wrong-type" else resource.content_type
        # What is cut is never sent, however often a client comes back for the rest.
        half = len(whole) // 2
        short = behaviour in ("truncate", "stall", "no-length-short")
        body = whole[start : min(stop, half)] if short else whole[start:stop]
        length: int | None = stop - start
        if behaviour.startswith("no-length"):
            length = None
        elif behaviour == "wrong-length":
            length = stop - start + WRONG_LENGTH_EXTRA_BYTES
        self._head(206 if ranged else 200, kind, headers, length)
        if self.command == "HEAD":
            return
        if length != len(body):
            self.close_connection = True
        if behaviour == "drip":
            self._drip(body, resource)
        else:
            self.wfile.write(body)
        if behaviour == "stall":
            self.wfile.flush()
            self.hostile.closing.wait(60)

    def _drip(self, body: bytes, resource: Resource) -> None:
        for start in range(0, len(body), resource.chunk_bytes):
            self.wfile.write(body[start : start + resource.chunk_bytes])
            self.wfile.flush()
            if self.hostile.closing.wait(resource.pause_seconds):
                self.close_connection = True
                return

    def _range(self, size: int, etag: str) -> tuple[int, int] | None:
        """Return [start, stop) of what is asked for, None for all, (-1, -1) if it has no byte."""
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if not match or not any(match.groups()):
            return None
        if self.headers.get("If-Range", etag) != etag:
            return None
        first, last = match.groups()
        start = int(first) if first else max(0, size - int(last))
        stop = min(size, int(last) + 1) if first and last else size
        return (start, stop) if start < stop else (-1, -1)

    def _send(self, status: int, body: bytes, kind: str, headers: dict[str, str]) -> None:
        self._head(status, kind, headers, len(body))
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: int, kind: str, headers: dict[str, str], length: int | None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
