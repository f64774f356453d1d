"""The folder that is taken over: who made it, what is in it, and what must not be believed."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING, Any

from trackverse_cli.adopting.counts import Surroundings
from trackverse_cli.errors import ItemError, RefusedNameError, UsageError
from trackverse_cli.index.manifest import MANIFEST_NAME
from trackverse_cli.index.schema import SCHEMA_VERSION as INDEX_VERSION
from trackverse_cli.layout import Layout, check_video_id
from trackverse_cli.ledger import SCHEMA_VERSION as LEDGER_VERSION
from trackverse_cli.ledger import LedgerState, read_ledger
from trackverse_cli.merging.donor import clip_below, videos_below
from trackverse_cli.walk import files_below, files_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_HEAD_BYTES = 1 << 16
_LIST_BYTES = 256 << 20
_OTHERS_SHOWN = 20
_KNOWN = frozenset(
    ("metadata", "videos_mp4", "tracks_mp4", "tracks_tar", "index", "ledger", "state", "logs",
     "downloaded.txt", "trackverse.toml")
)  # fmt: skip


_STAGES = ("download-videos", "extract-tracks", "download-tracks", "merge", "compact")


class Folder:
    """A dataset folder that the original scripts, or an older version, left.

    Args:
        path: the folder.
        own: the root that takes.

    Attributes:
        layout: its paths.
        in_place: whether its clips are the root's own.
        videos_in_place: the same of its videos.
        made_by: `trackverse` if a version of it downloaded or cut there, else `original`.
        ledger: what its ledger says, if it is another folder's.

    Raises:
        UsageError: it is no dataset folder, a later version wrote it, or it lies across the root.
        OSError: its ledger cannot be read.
    """

    def __init__(self, path: Path, own: Layout) -> None:
        self.layout = Layout(path.absolute())
        if not (self.layout.tracks.is_dir() or self.layout.videos.is_dir()):
            hint = f"; name {path.absolute().parent}" if _is_part(path) else ""
            raise UsageError(
                f"{path} is no dataset folder: it has neither tracks_mp4 nor videos_mp4; name the "
                f"folder that holds them{hint}"
            )
        self.in_place = _same_place(self.layout.tracks, own.tracks)
        self.videos_in_place = _same_place(self.layout.videos, own.videos)
        for layout in (self.layout, own):
            _refuse_newer(layout)
        worked = any(stage in _STAGES for _, _, stage in _ledger_heads(self.layout))
        self.made_by = "trackverse" if worked else "original"
        same = _same_place(self.layout.ledger, own.ledger)
        self.ledger = LedgerState() if same else read_ledger(self.layout)

    def clip(self, clip_name: str) -> Path | None:
        """Return the regular file of a clip, or None if there is none.

        Besides its own name, its last part alone and that below its first two characters are
        looked for, as other releases named clips.

        Raises:
            ItemError: reason `refused-name`, or `clip-damaged` for what is no regular file.
        """
        base = clip_name.rpartition("/")[2]
        for name in dict.fromkeys((clip_name, base, f"{base[:2]}/{base}")):
            path = clip_below(self.layout, name)
            if path is not None:
                return require_regular(path, "clip-damaged")
        return None

    def video(self, video_id: str) -> Path | None:
        """Return the regular file of a whole video in either layout, or None.

        Raises:
            ItemError: reason `refused-name`, or `video-damaged` for what is no regular file.
        """
        for path, _ in videos_below(self.layout, video_id):
            if not path.name.endswith(".ranges.mp4"):
                return require_regular(path, "video-damaged")
        return None

    def look_around(self) -> Surroundings:
        """Count what is there, by listings; links are not followed."""
        clips = sum(1 for _ in files_below(self.layout.tracks, lambda name: name.endswith(".mp4")))
        ids, unfinished = set(), 0
        for _, _, name, _ in files_below(self.layout.videos, lambda _: True):
            stem, dot, ending = name.partition(".")
            if f"{dot}{ending}" == ".mp4":
                ids.add(stem)
            unfinished += name.endswith((".part", ".ytdl", ".temp.mp4"))
        said = self._said()
        others = sorted(
            name for _, name, _ in files_in(self.layout.root, lambda name: name not in _KNOWN)
        )
        return Surroundings(
            clips, len(ids), None if said is None else len(said), len((said or set()) - ids),
            unfinished, tuple(others[:_OTHERS_SHOWN]),
        )  # fmt: skip

    def _said(self) -> set[str] | None:
        """Return the ids in `downloaded.txt`, whatever stands before them in a line."""
        path = self.layout.root / "downloaded.txt"
        text = _read_regular(path, _LIST_BYTES)
        if text is None:
            return None
        words = (line.split() for line in text.decode("utf-8", "replace").splitlines())
        return {found for line in words if line and (found := _id_of(line[-1]))}


def _id_of(word: str) -> str:
    try:
        return check_video_id(word.removesuffix(".mp4").rpartition("/")[2])
    except RefusedNameError:
        return ""


def _is_part(path: Path) -> bool:
    return path.absolute().name in ("tracks_mp4", "videos_mp4")


def _same_place(one: Path, other: Path) -> bool:
    """Say whether two folders are one; raise UsageError if one lies inside the other."""
    first, second = os.path.realpath(one), os.path.realpath(other)
    if first == second:
        return True
    if os.path.commonpath([first, second]) in (first, second):
        raise UsageError(
            f"{one} and {other} lie inside each other; name a folder beside the root, or the root"
        )
    return False


def require_regular(path: Path, reason: str) -> Path:
    """Return `path` if it can be read and is no device, pipe or link; raise ItemError else."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise ItemError(reason, f"{path} cannot be read: {error.strerror}") from error
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ItemError(reason, f"{path} is not a regular file")
    finally:
        os.close(fd)
    return path


def _read_regular(path: Path, at_most: int) -> bytes | None:
    """Return the beginning of a regular file, or None if there is none to read."""
    try:
        fd = os.open(require_regular(path, ""), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (ItemError, OSError):
        return None
    with os.fdopen(fd, "rb") as file:
        return file.read(at_most)


def _refuse_newer(layout: Layout) -> None:
    for known, heads in (
        (LEDGER_VERSION, _ledger_heads(layout)),
        (INDEX_VERSION, _index_heads(layout)),
    ):
        for path, schema, _ in heads:
            if type(schema) is not int or not 1 <= schema <= known:
                raise UsageError(
                    f"{path} has format {str(schema)[:20]!a}, and this trackverse knows 1 to "
                    f"{known}: install the version that wrote it, or a later one"
                )


def _ledger_heads(layout: Layout) -> Iterator[tuple[Path, Any, Any]]:
    """Yield (file, version of its format, stage) of the files that a trackverse wrote."""
    for _, name, _ in files_in(layout.ledger, lambda name: name.endswith(".jsonl")):
        head = _object_in((_read_regular(layout.ledger / name, _HEAD_BYTES) or b"").split(b"\n")[0])
        if head.get("kind") == "run":
            yield layout.ledger / name, head.get("schema", 1), head.get("stage")


def _index_heads(layout: Layout) -> Iterator[tuple[Path, Any, None]]:
    try:
        folders = sorted(p for p in (layout.root / "index").iterdir() if p.is_dir())
    except OSError:
        return
    for folder in folders:
        text = _read_regular(folder / MANIFEST_NAME, 16 * _HEAD_BYTES)
        if text is not None and (head := _object_in(text)):
            yield folder / MANIFEST_NAME, head.get("schema", 1), None


def _object_in(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
