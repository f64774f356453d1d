"""Puts together what is known of a video and its tracks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trackverse_cli.auditor import Auditor
from trackverse_cli.catalog import Catalog, open_catalog
from trackverse_cli.errors import UsageError
from trackverse_cli.files import checksum
from trackverse_cli.findings import ClipFinding, VideoFinding
from trackverse_cli.ledger import read_ledger
from trackverse_cli.outputs import Place, ShardIndex
from trackverse_cli.outputs.check import member_checksum
from trackverse_cli.outputs.judge import judge_member
from trackverse_cli.probe import Level
from trackverse_cli.reasons import HELD, MEANING
from trackverse_cli.recipe import recipe_id
from trackverse_cli.shards import assign
from trackverse_cli.story.lines import lines_about
from trackverse_cli.story.lookup import look_up
from trackverse_cli.story.parts import ClipStory, OnDisk, Standing, Story, VideoStory
from trackverse_cli.worklist import State, Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from trackverse_cli.catalog import Video
    from trackverse_cli.config import Config
    from trackverse_cli.metadata import Track


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
    kind, found = look_up(catalog, config, asked)
    if not found:
        raise UsageError(
            f"nothing in {catalog.name} is called {asked!a}; give a video id, a track id or a "
            "clip's name, or choose other metadata with --meta"
        )
    teller = _Teller(config, catalog, {catalog.video_ids[row] for row in found}, world_size)
    stories = [teller.video(row, int(ranks[row]), wanted) for row, wanted in found.items()]
    return Story(asked, kind, catalog.name, tuple(stories))


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
            tuple(lines_about(self._layout, video.video_id, wanted)),
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


def _standing(verdict: Verdict) -> Standing:
    meaning = MEANING.get(verdict.reason, "")
    return Standing(verdict.state.value, verdict.reason, meaning, verdict.message)


def next_step(clips: list[Standing], words: str) -> str:
    """Return one sentence on what to do, for the selected clips of one video.

    Args:
        clips: where they stand.
        words: the command that works on them.
    """
    due = [one for one in clips if Verdict(State(one.state), one.reason).due]
    if not clips:
        return "nothing: no clip of it is selected"
    if not due:
        if all(one.state == State.COMPLETE for one in clips):
            return "nothing: it is complete"
        if any(one.reason in HELD for one in clips):
            return "trackverse adopt --redo DIR, DIR being the root, then cut it again"
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
