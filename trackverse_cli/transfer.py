"""Bytes over the network for `fetch`, from any URL."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit, urlunsplit

from trackverse_cli.errors import LacksError, TryLaterError, UsageError
from trackverse_cli.files import make_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import httpx

    from trackverse_cli.clock import Clock

    Progress = Callable[[int, int], None]

TRIES: Final = 4
_FIRST_PAUSE_SECONDS = 2.0
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
_TIMEOUT_SECONDS = 60.0


def short_digest(text: str) -> str:
    """Return a file name for anything, such as a URL."""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def file_name_of(url: str) -> str:
    """Return the file's name at the end of a URL.

    Raises:
        UsageError: it is no http or https URL, or ends with no name.
    """
    parts = urlsplit(url)
    name = unquote(parts.path).rpartition("/")[2]
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{shown_url(url)} is no http or https URL; give one, a path or a subset")
    if not name:
        raise UsageError(f"{shown_url(url)} ends with no file name; give the metadata file's URL")
    return name


def shown_url(url: str) -> str:
    """Return a URL without user name, password and query, fit for a log."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def from_url(url: str, folder: Path, progress: Progress | None, clock: Clock) -> Path:
    """Download a URL; one that was interrupted goes on where it was, if the server can.

    Args:
        url: http or https; redirects are followed to such only.
        folder: where the file and its validator go.
        progress: gets bytes done and bytes in all (0 where the server does not say).
        clock: what pauses between tries.

    Raises:
        UsageError: the server has no such file.
        LacksError: the server cannot be reached or refuses.
        TryLaterError: the server stays busy, or keeps breaking off.
    """
    import httpx

    make_folder(folder, "the folder of incoming metadata")
    target = folder / "file"
    name = shown_url(url)
    trouble = ""
    try:
        session = httpx.Client(follow_redirects=True, timeout=_TIMEOUT_SECONDS)
    except ValueError as error:  # its message hides a password
        raise UsageError(
            f"a proxy in the environment cannot be used: {error}; look at HTTP_PROXY, HTTPS_PROXY "
            "and ALL_PROXY"
        ) from error
    with session as client:
        for attempt in range(TRIES):
            if attempt:
                clock.sleep(_FIRST_PAUSE_SECONDS * 2 ** (attempt - 1))
            size_before = _size(target)
            try:
                status = _download(client, url, target, progress)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                trouble = f"could not be reached ({error})"
                continue
            except (httpx.UnsupportedProtocol, httpx.TooManyRedirects) as error:
                raise UsageError(
                    f"{name} redirects to where nothing can be had: {error}"
                ) from error
            except httpx.InvalidURL as error:
                raise UsageError(f"{name} is no valid URL: {error}; check it") from error
            except httpx.TransportError as error:
                got = _size(target) - size_before
                trouble = f"broke off after {got} more bytes ({type(error).__name__})"
                continue
            if status == 200:
                return target
            if status not in _BUSY:
                raise _refusal(name, status)
            trouble = f"answered HTTP {status}"
    if trouble.startswith("could not"):
        raise LacksError(f"{name} {trouble}; check the network and the URL, or give a path")
    raise TryLaterError(f"{name} {trouble}, {TRIES} times; try again later to go on from there")


def _refusal(name: str, status: int) -> UsageError | LacksError:
    if status in (401, 403, 407):
        return LacksError(f"{name} refused (HTTP {status}); ask its owner, or give a path")
    return UsageError(f"{name} is not there (HTTP {status}); check the URL")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _download(client: httpx.Client, url: str, target: Path, progress: Progress | None) -> int:
    """Make one try; return 200 when the file is whole, else the status that came."""
    import httpx

    note = target.with_name("validator")
    begin = _size(target)
    validator = note.read_text() if note.exists() and begin else ""
    headers = {"Accept-Encoding": "identity"}
    if validator:
        # Without a validator, the file may have changed since: begin anew.
        headers |= {"Range": f"bytes={begin}-", "If-Range": validator}
    with client.stream("GET", url, headers=headers) as answer:
        if answer.status_code == 416:
            target.unlink(missing_ok=True)
            note.unlink(missing_ok=True)
            raise httpx.RemoteProtocolError("the stored part is longer than the file")
        if answer.status_code not in (200, 206):
            return answer.status_code
        begin = begin if _goes_on(answer, begin) else 0
        note.write_text(_validator(answer))
        total = begin + int(answer.headers.get("Content-Length", 0))
        with target.open("ab" if begin else "wb") as file:
            for block in answer.iter_raw():
                file.write(block)
                if progress:
                    progress(file.tell(), total)
            size = file.tell()
        if "Content-Length" in answer.headers and size != total:
            raise httpx.RemoteProtocolError(f"{size} bytes came of {total}")
    return 200


def _goes_on(answer: Any, begin: int) -> bool:
    range_given = answer.headers.get("Content-Range", "")
    if answer.status_code == 206 and not range_given.startswith(f"bytes {begin}-"):
        import httpx

        raise httpx.RemoteProtocolError(f"asked from {begin} on, got {range_given}")
    return bool(answer.status_code == 206)


def _validator(answer: Any) -> str:
    etag: str = answer.headers.get("ETag", "")
    if etag and not etag.startswith("W/"):
        return etag
    return str(answer.headers.get("Last-Modified", ""))
