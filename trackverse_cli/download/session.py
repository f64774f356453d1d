"""What is added to the downloader's own session: it stays on the web, and its answers are kept.

Nothing here imports yt_dlp; `trackverse_cli.download` joins it with what is here.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from trackverse_cli.download.errors import DownloadError, lacks_runtime
from trackverse_cli.download.info import check_address, whole_length
from trackverse_cli.download.said import http_status, retry_after
from trackverse_cli.errors import StoppedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

PAGE_BYTES: Final = 64 << 20
"""No page, playlist or key is longer; a file is read in steps and not meant by this."""

_STEP_BYTES = 1 << 16


class Log:
    """Takes what the downloader would print; the warnings of one video are kept.

    Attributes:
        warnings: of the video at hand.
        lasting: of the whole session, about what the downloader says once and does not repeat.
    """

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.lasting: list[str] = []

    def debug(self, message: str) -> None:
        """Pass over progress and details."""

    def warning(self, message: str) -> None:
        """Keep what may explain a failure."""
        self.warnings.append(message)
        if lacks_runtime([message]):
            self.lasting.append(message)

    @property
    def heard(self) -> list[str]:
        """What may explain a failure of the video at hand."""
        return [*self.warnings, *self.lasting]

    def error(self, message: str) -> None:
        """Pass over errors; they are raised as well."""


class Arrivals:
    """Counts bytes as they come, whatever was there before.

    Args:
        on_bytes: called with the number of new bytes.
    """

    def __init__(self, on_bytes: Callable[[int], None]) -> None:
        self._on_bytes = on_bytes
        self._seen: dict[str, int] = {}

    def start(self, parts: Iterable[Path]) -> None:
        """Begin anew; `parts` are files that will be continued."""
        self._seen = {str(part): part.stat().st_size for part in parts}

    def update(self, state: dict[str, Any]) -> None:
        """Take what the downloader tells its progress hooks."""
        name, total = state.get("tmpfilename"), state.get("downloaded_bytes")
        if not name or total is None:
            return
        before = self._seen.get(name, 0)
        self._seen[name] = total
        # Less than before: the host did not continue, it started anew.
        self._on_bytes(total - before if total >= before else total)


def is_of_host(url: str, host: str) -> bool:
    """Say whether an address is one of a host, or of a part of it."""
    name = urlsplit(url).hostname or ""
    return bool(host) and (name == host or name.endswith(f".{host}"))


def _bounded(read: Callable[..., bytes]) -> Callable[..., bytes]:
    """Return a `read` that takes no more of a whole answer than one has; steps are as before."""

    def bounded(amt: int | None = None) -> bytes:
        if amt is not None and amt >= 0:
            return read(amt)
        content = bytearray()
        while block := read(_STEP_BYTES):
            content += block
            if len(content) > PAGE_BYTES:
                raise DownloadError(
                    "ambiguous", f"the host sends a page of over {PAGE_BYTES >> 20} MiB"
                )
        return bytes(content)

    return bounded


class WebOnly:
    """Stands before `YoutubeDL` among the bases of a session.

    Attributes:
        folder: where files go, to the letter; the original expands `$` and `~` in it.
        lengths: address -> bytes of the whole file behind it, where its host said it.
        refusal: the last answer with an error status for the video at hand, or None.
        left: whether nobody waits for this session any more.
        at_home: whether the host that is asked is one of this machine or its own network.
        own_host: the host that is asked.
        own_headers: what only that host is told: keys and the like.
        make_request: gives the request for an address.
    """

    folder: Path
    lengths: dict[str, int]
    refusal: Exception | None = None
    left: bool = False
    at_home: bool = True
    own_host: str = ""
    own_headers: Mapping[str, str] = MappingProxyType({})
    make_request: Callable[[str], Any]
    _open: Any = None
    _asked_at: float = 0.0

    def get_output_path(self, _kind: str = "", filename: str | None = None) -> str:
        """Return the path of a file, or of the folder without one."""
        return os.path.join(self.folder, filename or "")  # noqa: PTH118 - text, as the original

    def refuse_embeds(self) -> None:
        """Take no video that a page of an unknown site shows.

        A page that says that a video is gone may show another one.
        """
        generic: Any = self.get_info_extractor("Generic")  # type: ignore[attr-defined]  # YoutubeDL's
        generic._extract_embeds = lambda *_, **__: []

    def asked_seconds(self, now: float) -> float | None:
        """Return how long the last refusal asked to wait, None if it did not."""
        return None if self.refusal is None else retry_after(self.refusal, now)

    def urlopen(self, req: Any) -> Any:
        """Ask a host.

        Raises:
            DownloadError: something else than a web address, also where a host redirects to it.
        """
        url = req if isinstance(req, str) else getattr(req, "url", None) or req.full_url
        check_address(url, at_home=self.at_home)
        if self.own_headers and is_of_host(url, self.own_host):
            req = self.make_request(req) if isinstance(req, str) else req
            for name, value in self.own_headers.items():
                req.headers.setdefault(name, value)
        self._open, self._asked_at = None, time.monotonic()
        try:
            response = super().urlopen(req)  # type: ignore[misc]  # YoutubeDL is the next base
        except Exception as error:
            if http_status(error) is not None:
                self.refusal = error
            raise
        if self.left:
            response.close()
            raise StoppedError(signal.SIGTERM)
        self._open = response
        check_address(response.url, at_home=self.at_home)
        response.read = _bounded(response.read)
        length = whole_length(response.status, response.headers)
        if length is not None:
            self.lengths[url] = length
        return response

    @property
    def heard(self) -> bool:
        """Whether an answer to what was asked last has begun."""
        return self._open is not None

    def seconds_asked(self) -> float:
        """Return how long ago a host was last asked, 0 if none was."""
        return time.monotonic() - self._asked_at if self._asked_at else 0.0

    def hang_up(self) -> None:
        """End the answer that another thread is reading, as if the line had broken."""
        shutdown = getattr(getattr(self._open, "fp", None), "shutdown", None)
        if shutdown is not None:
            # It may have ended meanwhile.
            with suppress(Exception):
                shutdown()
