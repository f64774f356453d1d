"""The lines of the ledger as typed records, and their text."""

from __future__ import annotations

from typing import Literal

import msgspec

from trackverse_cli.redaction import redacted

SCHEMA_VERSION = 1

MESSAGE_CHARACTERS = 1000
"""A longer message is cut, so that a chatty host cannot make a line large."""


class Entry(
    msgspec.Struct, frozen=True, tag_field="kind", kw_only=True, omit_defaults=True, gc=False
):
    """What every line has."""

    time: float


class RunEntry(Entry, tag="run", frozen=True, kw_only=True, omit_defaults=False):
    """The first line of a file: who writes it.

    `selection` is the key of the catalogue's selection, empty for everything; `job` the id of the
    job that it belongs to, empty if a person started it.
    """

    run: str
    stage: str
    rank: int
    world_size: int
    host: str
    pid: int
    version: str
    metadata: str
    selection: str = ""
    job: str = ""
    schema: int = SCHEMA_VERSION


class VideoEntry(Entry, tag="video", frozen=True, kw_only=True, omit_defaults=True):
    """What became of one video.

    `source_size` is the largest (width, height) that its host offers, where the host says it:
    it settles what a smaller copy on disk stands for. `ranges` are the (start, stop) seconds that
    the file holds, empty for a whole video. `clips` is how many due clips a failed video takes
    along, `tries` how many runs in a row ended with this reason, and `since` when the first of
    them did.
    """

    video_id: str
    state: Literal["present", "failed", "evicted"]
    reason: str = ""
    message: str = ""
    bytes: int = 0
    width: int = 0
    height: int = 0
    duration_seconds: float = 0.0
    codec: str = ""
    format_id: str = ""
    checksum: str = ""
    source_size: tuple[int, int] | None = None
    fps: float = 0.0
    upload_date: str = ""
    ranges: tuple[tuple[float, float], ...] = ()
    fetched_bytes: int = 0
    whole_bytes: int = 0
    note: str = ""
    clips: int = 0
    tries: int = 0
    since: float = 0.0


class ClipsEntry(Entry, tag="clips", frozen=True, kw_only=True, omit_defaults=True):
    """Clips of one video that were cut; each as (track id, frames, bytes, checksum).

    `note` says what was done otherwise than asked, such as on the CPU instead of a GPU. It is for
    people to read; compaction drops it.
    """

    video_id: str
    recipe: str
    done: list[tuple[str, int, int, str]]
    note: str = ""


class TrackEntry(Entry, tag="track", frozen=True, kw_only=True):
    """One track that could not be cut.

    `source_bytes` is the size of the video that was tried: another file is worth another try.
    """

    video_id: str
    track_id: str
    recipe: str
    reason: str
    message: str
    source_bytes: int = 0


class EndEntry(Entry, tag="end", frozen=True, kw_only=True):
    """The last line of a run that closed its file."""


AnyEntry = RunEntry | VideoEntry | ClipsEntry | TrackEntry | EndEntry

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(AnyEntry)


def encode_line(entry: AnyEntry) -> bytes:
    """Return one line with its line end."""
    return _encoder.encode(entry) + b"\n"


def decode_line(line: bytes) -> AnyEntry | None:
    """Return the record of one line, or None if it is torn or no line of this version."""
    try:
        entry: AnyEntry = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return entry


def printable(message: str) -> str:
    """Return `message` without secrets, not too long, as valid UTF-8.

    It may name a file whose name is none.
    """
    text = redacted(message.encode("utf-8", "backslashreplace").decode())
    if len(text) <= MESSAGE_CHARACTERS:
        return text
    return text[: MESSAGE_CHARACTERS - 4] + " ..."
