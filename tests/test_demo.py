"""The demo's own server: whoever ends a connection early is no news, anything else is."""

from __future__ import annotations

import socket
import struct
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.test_jobs import until
from trackverse_cli import demo

if TYPE_CHECKING:
    import http.server
    from pathlib import Path

    import pytest


def asked(address: str, name: str) -> socket.socket:
    """Ask for a file and return the connection, before anything of it is read."""
    parts = urlsplit(address)
    found = socket.create_connection((str(parts.hostname), int(parts.port or 0)))
    found.sendall(f"GET /{name} HTTP/1.0\r\n\r\n".encode())
    return found


def test_a_connection_that_is_ended_early_prints_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "large").write_bytes(bytes(8 << 20))
    failed: list[BaseException] = []
    real = demo._Quiet.copyfile

    def copyfile(self: demo._Quiet, source: object, out: object) -> None:
        try:
            real(self, source, out)  # type: ignore[arg-type]
        except OSError as error:
            failed.append(error)
            raise

    monkeypatch.setattr(demo._Quiet, "copyfile", copyfile)
    ended: list[object] = []
    close = demo._Server.shutdown_request
    monkeypatch.setattr(
        demo._Server, "shutdown_request", lambda one, its: (close(one, its), ended.append(its))[0]
    )
    with demo._served(tmp_path) as address:
        with closing(asked(address, "large")) as connection:
            connection.recv(100)
            reset = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        until(lambda: ended, 20)
    assert isinstance(failed[0], ConnectionResetError | BrokenPipeError)
    assert capfd.readouterr().err == ""


def test_any_other_error_of_the_server_is_told(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: http.server.SimpleHTTPRequestHandler) -> None:
        raise PermissionError("the disk is locked")

    monkeypatch.setattr(demo._Quiet, "do_GET", broken, raising=False)
    with demo._served(tmp_path) as address, closing(asked(address, "any")) as connection:
        assert connection.recv(100) == b""
    assert "the disk is locked" in capfd.readouterr().err
