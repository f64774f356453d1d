"""Only the stretches of a video that its tracks need, by bounded requests for ranges of bytes."""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from trackverse_cli.download.check import durations_agree
from trackverse_cli.download.errors import DownloadError, classify
from trackverse_cli.download.said import http_status, is_a
from trackverse_cli.ranges import (
    FileHead,
    Held,
    Plan,
    UnfitFileError,
    covers,
    make_plan,
    parse_head,
    read_held,
    record_atom,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from trackverse_cli.download.info import Info

Mode = Literal["auto", "off", "always"]
Spans = tuple[tuple[float, float], ...]

HEAD_BYTES: Final = 32 << 10
"""Asked for first; the index of two hours with a fragment every five seconds fits in."""

WORTH_SHARE: Final = 0.6
"""With `auto`, more than this share of the bytes means the whole file."""

MARGINS_SECONDS: Final = (0.1, 1.5)
"""Taken besides on both sides of a span; the second where the index was not exact."""

_BLOCK_BYTES = 16 << 10


@dataclass(frozen=True, slots=True)
class Stretches:
    """Stretches of a video that have come into one file.

    Attributes:
        info: what the downloader knows of the video.
        path: the file.
        held: what it holds.
        fetched_bytes: what came over the line for it.
        whole_bytes: the size of the whole file.
        requests: how many were made.
    """

    info: Info
    path: Path
    held: Held
    fetched_bytes: int
    whole_bytes: int
    requests: int


@dataclass(slots=True)
class RangeReader:
    """Reads ranges of one file behind one address, and notices if it becomes another.

    Args:
        ask: opens (address, headers) and returns the answer; raises the downloader's errors.
        url: the address.
        headers: of every request.
        on_bytes: called with the number of bytes that have just come.

    Attributes:
        total: the size of the whole file, once known.
        fetched: bytes that came.
        requests: how many were made.
    """

    ask: Callable[[str, dict[str, str]], Any]
    url: str
    headers: dict[str, str]
    on_bytes: Callable[[int], None]
    total: int | None = None
    fetched: int = 0
    requests: int = 0
    _mark: str | None = field(default=None, repr=False)

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from `start` up to `stop`, or up to the end of the file.

        Raises:
            UnfitFileError: the host does not give ranges, or its file has changed.
            DownloadError: `throttled`.
        """
        problem = "a range could not be read"
        for _ in range(2):
            try:
                return self._read(start, stop)
            except (UnfitFileError, DownloadError):
                raise
            except Exception as error:
                if http_status(error) == 429:
                    reason, said, wait = classify(error, [], False)
                    raise DownloadError(reason, said, wait) from error
                if not is_a([error], "RequestError", "ConnectionError", "TimeoutError"):
                    raise
                problem = f"a range could not be read ({type(error).__name__})"
        raise UnfitFileError(problem)

    def _read(self, start: int, stop: int) -> bytes:
        headers = {**self.headers, "Range": f"bytes={start}-{stop - 1}"}
        headers["Accept-Encoding"] = "identity"
        self.requests += 1
        with closing(self.ask(self.url, headers)) as answer:
            stop = self._check(answer, start, stop)
            data = bytearray()
            while len(data) < stop - start:
                block = answer.read(min(_BLOCK_BYTES, stop - start - len(data)))
                if not block:
                    break
                data += block
                self.fetched += len(block)
                self.on_bytes(len(block))
        if len(data) != stop - start:
            raise ConnectionError("a range ended early")
        return bytes(data)

    def _check(self, answer: Any, start: int, stop: int) -> int:
        """Return where the range of an answer stops, which is what was asked for."""
        told = re.fullmatch(
            r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15})", answer.headers.get("Content-Range") or ""
        )
        if answer.status != 206 or told is None:
            raise UnfitFileError("its host does not give ranges")
        first, last, total = (int(number) for number in told.groups())
        encoded = (answer.headers.get("Content-Encoding") or "identity") != "identity"
        if first != start or last != min(stop, total) - 1 or encoded:
            raise UnfitFileError("its host gives other ranges than those asked for")
        mark = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
        if self.total is not None and (total, mark) != (self.total, self._mark):
            raise UnfitFileError("its file changed meanwhile")
        self.total, self._mark = total, mark
        return last + 1


def can_have_stretches(info: Info) -> bool:
    """Say whether a chosen format may be a fragmented mp4 behind one address."""
    return (
        info.get("protocol") in ("http", "https")
        and not info.get("requested_formats")
        and not info.get("fragments")
        and info.get("ext") in ("mp4", "m4v")
    )


def bring_stretches(
    reader: RangeReader, info: Info, spans: Spans, mode: Mode, path: Path
) -> Stretches:
    """Fetch what some spans need of a video into a file.

    Args:
        reader: reads the whole file's ranges.
        info: what the downloader knows of the video.
        spans: (start, stop) seconds that are needed.
        mode: `auto` refuses what saves little.
        path: the file to write.

    Raises:
        UnfitFileError: this cannot be, or is not worth it; the whole file is to be fetched.
        DownloadError: `throttled`, or too slow.
        OSError: the disk refused.
    """
    head = _head_of(reader, info)
    total = reader.total or 0
    plan = make_plan(head, spans, _margin(info, 0))
    share = (plan.wanted_bytes + reader.fetched) / total
    if share > (WORTH_SHARE if mode == "auto" else 1):
        raise UnfitFileError(f"{share:.0%} of its bytes are needed")
    for attempt in range(len(MARGINS_SECONDS)):
        plan = make_plan(head, spans, _margin(info, attempt))
        held = _write(reader, head, plan, path)
        end = float(head.end_seconds)
        if covers(held.spans, spans, held.whole_seconds or end, _margin(info, 0)):
            return Stretches(info, path, held, reader.fetched, total, reader.requests)
    raise UnfitFileError("its fragments are not where its index says")


def _margin(info: Info, attempt: int) -> float:
    """Return the seconds to take besides on both sides: a picture's time at the least."""
    fps = info.get("fps")
    picture = 1 / fps if isinstance(fps, int | float) and fps > 1 else 0.0
    return max(MARGINS_SECONDS[attempt], picture)


def _head_of(reader: RangeReader, info: Info) -> FileHead:
    head: FileHead | int = HEAD_BYTES
    data = b""
    while isinstance(head, int):
        if reader.total is not None and len(data) >= reader.total:
            raise UnfitFileError("it is cut short")
        data += reader.read(len(data), head)
        head = parse_head(data)
    promised = info.get("duration")
    if promised and not durations_agree(float(head.index.seconds), promised):
        raise UnfitFileError("its index is of another length than was promised")
    if head.index.end_byte > (reader.total or 0):
        raise UnfitFileError("its index goes on after its end")
    return head


def _write(reader: RangeReader, head: FileHead, plan: Plan, path: Path) -> Held:
    """Write the head and the chosen fragments, one after the other, and read what they hold."""
    fragments = [head.index.fragments[number] for number in plan.chosen]
    pieces = [(each.first_byte, each.end_byte) for each in fragments]
    with path.open("wb") as file:
        file.write(head.start)
        for start, stop in plan.requests:
            data = reader.read(start, stop)
            if len(data) != stop - start:
                raise UnfitFileError("it is cut short")
            for first, last in pieces:
                if first < stop and start < last:
                    file.write(data[max(first - start, 0) : last - start])
    held = read_held(path)
    if not held.spans:
        raise UnfitFileError("its fragments hold no key picture")
    first_seconds, whole_seconds = _bounds(head, plan, held.spans)
    with path.open("ab") as file:
        file.write(record_atom(first_seconds, whole_seconds, reader.total or 0))
    return read_held(path)


def _bounds(
    head: FileHead, plan: Plan, spans: Sequence[tuple[float, float]]
) -> tuple[float, float]:
    """Return where the whole video starts and ends; its fragments know better than its index."""
    begin = float(head.shown(head.index.fragments[0].start))
    end = float(head.end_seconds)
    if plan.chosen[0] == 0:
        begin = spans[0][0]
    if plan.chosen[-1] == len(head.index.fragments) - 1:
        end = spans[-1][1]
    return begin, end
