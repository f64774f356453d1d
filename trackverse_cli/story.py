"""One item's whole story: what it is, what is on disk, what every run wrote about it, what is next."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from trackverse_cli.auditor import Auditor, ClipFinding, VideoFinding
from trackverse_cli.catalog import Catalog, open_catalog
from trackverse_cli.clock import utc_text
from trackverse_cli.errors import UsageError
from trackverse_cli.files import checksum
from trackverse_cli.ledger import RunEntry, read_ledger
from trackverse_cli.ledger.reader import ledger_names, read_file
from trackverse_cli.outputs import Place, ShardIndex
from trackverse_cli.outputs.judge import judge_member
from trackverse_cli.probe import Level
from trackverse_cli.reasons import MEANING
from trackverse_cli.recipe import recipe_id
from trackverse_cli.shards import assign
from trackverse_cli.worklist import State, Verdict

if TYPE_CHECKING:
    from trackverse_cli.catalog import Video
    from trackverse_cli.config import Config
    from trackverse_cli.ledger.reader import PackedEntry
    from trackverse_cli.metadata import Track

SCHEMA_VERSION = 1
MATCHES = 20
"""Videos that are told of at most, where a track id stands in many."""

_VIDEO_ID = re.compile(r"[A-Za-z0-9_-]{11}", re.ASCII)


@dataclass(frozen=True, slots=True)
class OnDisk:
    """A file, or a stretch of a tar shard.

    Attributes:
        kind: `video`, `ranges`, `clip` or `shard`.
        path: relative to the dataset folder.
        bytes: the size of the file, or of the clip in the shard.
        offset: where the clip begins in the shard, None for a file.
        matches: whether its checksum is the recorded one; None where none is recorded.
    """

    kind: str
    path: str
    bytes: int
    offset: int | None
    matches: bool | None


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an item stands: the words of `verify`, the reason's meaning, and the ledger's words."""

    state: str
    reason: str
    meaning: str
    message: str


@dataclass(frozen=True, slots=True)
class ClipStory:
    """One track, its clip, and what metadata says of it."""

    track_id: str
    clip_name: str
    selected: bool
    standing: Standing
    boxes: int
    first_ts: float
    last_ts: float
    label_ids: tuple[int, ...]
    labels: tuple[str, ...]
    video_size: tuple[int, int] | None
    files: tuple[OnDisk, ...]


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """One line about the item: when, who wrote it, what it says."""

    time: str
    run: str
    job: str
    host: str
    stage: str
    rank: int
    world_size: int
    file: str
    line: dict[str, Any]


@dataclass(frozen=True, slots=True)
class VideoStory:
    """A video with the tracks that were asked for."""

    video_id: str
    rank: int
    world_size: int
    tracks: int
    standing: Standing
    files: tuple[OnDisk, ...]
    clips: tuple[ClipStory, ...]
    ledger: tuple[LedgerLine, ...]
    next: str


@dataclass(frozen=True, slots=True)
class Story:
    """What is known of an id, a clip's name or its path; several videos where a track id has them."""

    asked: str
    kind: str
    metadata: str
    videos: tuple[VideoStory, ...]

    def to_json(self) -> dict[str, Any]:
        """Return what `show --json` prints."""
        return {"schema": SCHEMA_VERSION} | asdict(self)


def tell(config: Config, asked: str, world_size: int = 1) -> Story:
    """Return the story of a video, a track or a clip.

    Args:
        config: the configuration in force; what its selection leaves out is told as well.
        asked: a video id, a track id, a clip's name or its path.
        world_size: how many ranks share the work, to say whose it is.

    Raises:
        UsageError: nothing is known of it, or no usable index.
        OSError: the ledger cannot be read.
    """
    catalog = open_catalog(config)
    ranks = assign(catalog.costs, world_size)
    kind, found = _found(catalog, config, asked)
    if not found:
        raise UsageError(
            f"nothing in {catalog.name} is called {asked!a}; give a video id, a track id or a "
            "clip's name, or choose other metadata with --meta"
        )
    teller = _Teller(config, catalog, {catalog.video_ids[row] for row in found}, world_size)
    stories = [teller.video(row, int(ranks[row]), wanted) for row, wanted in found.items()]
    return Story(asked, kind, catalog.name, tuple(stories))


def _found(catalog: Catalog, config: Config, asked: str) -> tuple[str, dict[int, str | None]]:
    """Return what was asked for, and row -> track id, None for all tracks of the video."""
    import pyarrow.compute as pc

    if _VIDEO_ID.fullmatch(asked) and asked in catalog.video_ids:
        return "video", {catalog.video_ids.index(asked): None}
    name = _clip_name(config, asked)
    found: dict[int, str | None] = {}
    kind = "track"
    for table in catalog.clips():
        for column, value in (("clip_name", name), ("track_id", asked)):
            some = table.filter(pc.equal(table[column], value))
            for row, track in zip(
                some["video_row"].to_pylist(), some["track_id"].to_pylist(), strict=True
            ):
                kind = "clip" if column == "clip_name" else "track"
                if len(found) < MATCHES:
                    found.setdefault(row, track)
    return kind, found


def _clip_name(config: Config, asked: str) -> str:
    """Return the name below `tracks_mp4/` that a path means, or what was asked as it is."""
    for path in (Path(asked).absolute(), config.layout.root / asked):
        if path.is_relative_to(config.layout.tracks):
            return path.relative_to(config.layout.tracks).as_posix()
    return asked


class _Teller:
    def __init__(
        self, config: Config, catalog: Catalog, video_ids: set[str], world_size: int
    ) -> None:
        self._config, self._catalog = config, catalog
        self._layout = config.layout
        self._world_size = world_size
        self._recipe = recipe_id(config.settings)
        self._ledger = read_ledger(self._layout, video_ids.__contains__)
        self._shards = ShardIndex.load(self._layout, video_ids)
        self._auditor = Auditor(
            catalog, self._layout, self._ledger, self._recipe, Level.CHECKSUM, None, False
        )

    def video(self, row: int, rank: int, wanted: str | None) -> VideoStory:
        """Return what is known of one video, and of all its tracks or of one."""
        video = next(iter(self._catalog.videos(np.array([row]))))
        verdicts: dict[str, Verdict] = {}
        standing = Verdict(State.MISSING, "not-tried")
        for one in self._auditor.look(np.array([row]), 0):
            if isinstance(one, ClipFinding):
                verdicts[one.clip.track_id] = one.verdict
            elif isinstance(one, VideoFinding):
                standing = one.verdict
        tracks = [t for t in video.tracks if wanted is None or t.track_id == wanted]
        clips = tuple(self._clip(video, track, verdicts) for track in tracks)
        words = f"download-tracks --rank {rank} --world-size {self._world_size}"
        return VideoStory(
            video.video_id,
            rank,
            self._world_size,
            len(video.tracks),
            _standing(standing),
            tuple(self._video_files(video.video_id)),
            clips,
            tuple(self._lines(video.video_id, wanted)),
            next_step([clip.standing for clip in clips if clip.selected], words),
        )

    def _clip(self, video: Video, track: Track, verdicts: dict[str, Verdict]) -> ClipStory:
        verdict = verdicts.get(track.track_id)
        place = self._shards.find(video.video_id, track.track_id)
        if place is not None and (verdict is None or verdict.state is not State.COMPLETE):
            name = (video.video_id, track.track_id)
            verdict = judge_member(place, *name, self._recipe, self._ledger, Level.CHECKSUM)
        return ClipStory(
            track.track_id,
            track.clip_name,
            any(one.track_id == track.track_id for one in video.selected),
            _standing(verdict or Verdict(State.MISSING, "not-tried", "it is not selected")),
            len(track.frame_ts),
            float(track.frame_ts.min()),
            float(track.frame_ts.max()),
            track.label_ids,
            track.label_names,
            track.video_size,
            tuple(self._clip_files(track, place)),
        )

    def _clip_files(self, track: Track, place: Place | None) -> list[OnDisk]:
        found = []
        record = self._ledger.clips.get((track.video_id, track.track_id))
        path = self._layout.tracks / track.clip_name
        if path.is_file() and not path.is_symlink():
            found.append(self._file("clip", path, record.checksum if record else ""))
        if place is not None:
            from trackverse_cli.outputs.check import member_checksum

            where = self._layout.relative(place.shard)
            matches = place.is_there and member_checksum(place) == place.checksum
            found.append(OnDisk("shard", where, place.size, place.offset, matches))
        return found

    def _video_files(self, video_id: str) -> list[OnDisk]:
        entry = self._ledger.videos.get(video_id)
        known = entry.checksum if entry is not None and entry.state == "present" else ""
        whole = self._layout.find_video(video_id)
        ranges = self._layout.videos / video_id[:2] / f"{video_id}.ranges.mp4"
        found = []
        if whole is not None:
            found.append(self._file("video", whole, known))
        if ranges.is_file():
            found.append(self._file("ranges", ranges, "" if whole is not None else known))
        return found

    def _file(self, kind: str, path: Path, known: str) -> OnDisk:
        matches = checksum(path) == known if known else None
        return OnDisk(kind, self._layout.relative(path), path.stat().st_size, None, matches)

    def _lines(self, video_id: str, wanted: str | None) -> list[LedgerLine]:
        """Return every line of the ledger about a video, or about one track and its video."""
        found: list[tuple[float, LedgerLine]] = []
        for name in ledger_names(self._layout):
            runs: list[RunEntry] = []

            def take(entry: PackedEntry, name: str = name, runs: list[RunEntry] = runs) -> None:
                if isinstance(entry, RunEntry):
                    runs.append(entry)
                    return
                line = _told(entry, wanted)
                if line is not None:
                    who = runs[-1] if runs else None
                    found.append((entry.time, _line(entry.time, name, who, line)))

            read_file(self._layout.ledger / name, lambda one: one == video_id, take)
        return [line for _, line in sorted(found, key=lambda pair: pair[0])]


def _told(entry: PackedEntry, wanted: str | None) -> dict[str, Any] | None:
    """Return what a line says, without the tracks that were not asked for; None if nothing."""
    said: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(entry))
    said.pop("time", None)
    if said["kind"] == "end":
        return None
    if wanted is not None and said["kind"] == "track" and said["track_id"] != wanted:
        return None
    if said["kind"] == "clips":
        said["done"] = [one for one in said["done"] if wanted is None or one[0] == wanted]
        if not said["done"]:
            return None
    return said


def _line(time: float, name: str, who: RunEntry | None, said: dict[str, Any]) -> LedgerLine:
    if who is None:
        return LedgerLine(utc_text(time), "", "", "", "", 0, 1, name, said)
    share = (who.rank, who.world_size)
    return LedgerLine(utc_text(time), who.run, who.job, who.host, who.stage, *share, name, said)


def _standing(verdict: Verdict) -> Standing:
    meaning = MEANING.get(verdict.reason, "")
    return Standing(verdict.state.value, verdict.reason, meaning, verdict.message)


def next_step(clips: list[Standing], words: str) -> str:
    """Return one sentence on what to do, for the selected clips of one video.

    Args:
        clips: where they stand.
        words: the command that works on them.
    """
    due = [one for one in clips if one.state in (State.MISSING, State.DAMAGED)]
    if not clips:
        return "nothing: no clip of it is selected"
    if not due:
        if all(one.state == State.COMPLETE for one in clips):
            return "nothing: it is complete"
        return "nothing: what is not there is gone for good, and no other run can win it"
    reasons = {one.reason for one in due}
    if reasons & {"needs-cookies"}:
        return f"export cookies of a signed-in browser, then trackverse {words} --cookies FILE"
    if reasons & {"throttled", "transient", "ambiguous", "later"}:
        return f"wait for an hour or more, then trackverse {words}"
    if "tool" in reasons:
        return f"pip install -U 'yt-dlp[default]', then trackverse {words}"
    if reasons == {"other-recipe"}:
        return f"set [encode] as it was when they were cut, or cut them again: trackverse {words}"
    return f"trackverse {words}"
