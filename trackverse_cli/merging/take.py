"""Takes the clips and the source of one video from another root."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trackverse_cli.errors import ItemError, RefusedNameError
from trackverse_cli.files import publish, temporary_beside
from trackverse_cli.merging.outcome import VideoOutcome, failures_to_carry
from trackverse_cli.merging.own import Own, Standing, write_member
from trackverse_cli.outputs import Member
from trackverse_cli.probe import Level, check_clip, check_video, read_clip
from trackverse_cli.recipe import ORIGINAL, fits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trackverse_cli.catalog import Catalog
    from trackverse_cli.merging.carry import Carrier
    from trackverse_cli.merging.donor import Donor, Found
    from trackverse_cli.outputs import ClipSink, Place


VIDEOS_AT_ONCE = 1024
"""Videos whose clips are listed at once, which bounds memory."""


@dataclass(slots=True)
class Taker:
    """Takes from one root; several threads may use it, for different videos.

    Attributes:
        own: the root that takes.
        donor: the root that gives.
        sink: where clips go, None to write nothing.
        carrier: brings files.
        any_recipe: whether clips that were cut otherwise are taken as well.
        videos: `all`, `needed` (those that have clips left to cut) or `none`.
    """

    own: Own
    donor: Donor
    sink: ClipSink | None
    carrier: Carrier
    any_recipe: bool
    videos: str

    def take(self, video_id: str, clips: list[dict[str, Any]]) -> VideoOutcome:
        """Take what is sound of one video.

        Args:
            video_id: a checked id.
            clips: its selected clips, as the catalogue lists them.

        Raises:
            OSError: the disk of this root refused.
            StoppedError: a signal.
        """
        out = VideoOutcome()
        lacking = [clip["track_id"] for clip in clips if not self._clip(clip, out)]
        out.failed += failures_to_carry(self.own, self.donor, video_id, lacking)
        if self.videos == "all" or (self.videos == "needed" and lacking):
            self._video(video_id, self._is_bad(video_id, lacking), out)
        return out

    def _clip(self, clip: dict[str, Any], out: VideoOutcome) -> bool:
        """Take one clip; return whether a sound one is here now, as far as was looked."""
        name = (clip["video_id"], clip["track_id"], clip["clip_name"])
        try:
            found = self.donor.clip(*name)
            if found is None:
                return self._is_listed(name)
            here = self.own.clip(*name)
            if here.state == "sound":
                self._keep(name[1], here, out)
                if isinstance(found.source, Path):
                    out.sources.append(found.source)
                return True
            self._bring(clip, found, out)
        except RefusedNameError as error:
            self._leave(out, name[2], "refused-name", str(error))
            return False
        except ItemError as error:
            self._leave(out, name[2], error.reason, error.message)
            return self._is_listed(name)
        out.clips["brought" if here.state == "absent" else "replaced"] += 1
        return True

    def _is_listed(self, name: tuple[str, str, str]) -> bool:
        if name[:2] in self.own.ledger.failures:
            return False
        with suppress(RefusedNameError):
            return self.own.layout.clip(name[2]).exists() or bool(self.own.shards.find(*name[:2]))
        return False

    @staticmethod
    def _keep(track_id: str, here: Standing, out: VideoOutcome) -> None:
        out.clips["there"] += 1
        if here.news is not None:
            out.record(track_id, here.news)
        if here.stamp is not None:
            out.stamps.append(here.stamp)

    @staticmethod
    def _leave(out: VideoOutcome, what: str, reason: str, message: str) -> None:
        out.clips["left_out"] += 1
        out.left_out.append((what, reason, message))

    def _bring(self, clip: dict[str, Any], found: Found, out: VideoOutcome) -> None:
        if found.record is not None and not self._fits(found.record.recipe):
            told = f"its recipe is {found.record.recipe!a}, here it is {self.own.recipe}"
            raise ItemError("other-recipe", told)
        if self.sink is None:
            self._look(clip, found, out)
            return
        temporary = self.sink.temporary(clip["clip_name"])
        stored = False
        try:
            if isinstance(found.source, Path):
                way = self.carrier.bring(found.source, temporary, "clip-damaged")
            else:
                write_member(found.source, temporary)
                way = "copy"
            frames, recipe = self._checked(temporary, clip, found)
            done = self.sink.store(temporary, _member(clip, frames, recipe))
            stored = True
        except ItemError as error:
            told = error.message.replace(str(temporary), _told(found.source))
            raise ItemError(error.reason, told) from error
        finally:
            if not stored:
                with suppress(OSError):
                    temporary.unlink()
        out.how[way] += 1
        out.bytes += done.bytes
        out.finished.append(done)
        done_line = (clip["track_id"], frames, done.bytes, done.checksum)
        out.recipes.setdefault(recipe, []).append(done_line)
        if isinstance(found.source, Path):
            out.sources.append(found.source)

    def _fits(self, recipe: str) -> bool:
        return self.any_recipe or fits(recipe, self.own.recipe)

    def _checked(self, path: Path, clip: dict[str, Any], found: Found) -> tuple[int, str]:
        """Return (frames, recipe) of a file that was brought, if it is sound."""
        recipe = self.own.recipe
        if found.record is not None and found.record.recipe == ORIGINAL:
            recipe = ORIGINAL
        elif self.any_recipe:
            origin = read_clip(path).origin
            known = found.record.recipe if found.record is not None else None
            recipe = known or (origin.recipe if origin is not None else recipe)
        level = Level.DECODE if found.record is None else Level.CHECKSUM
        name = (clip["video_id"], clip["track_id"])
        return check_clip(path, *name, recipe, found.record, level).frames, recipe

    def _look(self, clip: dict[str, Any], found: Found, out: VideoOutcome) -> None:
        """Say what `_bring` would do, without a file of this root's own."""
        if isinstance(found.source, Path):
            self._checked(found.source, clip, found)
            out.bytes += found.source.stat().st_size
            return
        from trackverse_cli.outputs import check_member

        recipe, name = found.source.recipe, (clip["video_id"], clip["track_id"])
        check_member(found.source, *name, recipe, None, Level.CHECKSUM)
        out.bytes += found.source.size

    def _is_bad(self, video_id: str, lacking: list[str]) -> bool:
        """Say whether a cut has failed because the video here is damaged."""
        failures = self.own.ledger.failures
        told = [failures.get((video_id, track_id)) for track_id in lacking]
        return any(one is not None and one.reason == "video-damaged" for one in told)

    def _video(self, video_id: str, is_bad: bool, out: VideoOutcome) -> None:
        try:
            for path, relative in self.donor.videos(video_id):
                target = self.own.layout.videos / relative
                here = self.own.layout.find_video(video_id) or target
                if here.exists() and not is_bad:
                    out.videos["there"] += 1
                    return
                outcome = "replaced" if here.exists() else "brought"
                self._bring_video(video_id, path, here, out)
                out.videos[outcome] += 1
                return
        except ItemError as error:
            out.videos["left_out"] += 1
            out.left_out.append((video_id, error.reason, error.message))

    def _bring_video(self, video_id: str, path: Path, target: Path, out: VideoOutcome) -> None:
        entry = self.donor.ledger.videos.get(video_id)
        known = entry if entry is not None and entry.state == "present" else None
        digest = known.checksum if known is not None else ""
        if known is not None and path.name.endswith(".ranges.mp4"):
            # The line may be of another file of this video.
            digest = digest if known.bytes == path.stat().st_size else ""
        level = Level.CHECKSUM if digest else Level.DECODE
        if self.sink is None:
            check_video(path, level, digest)
            out.bytes += path.stat().st_size
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_beside(target)
        try:
            way = self.carrier.bring(path, temporary, "video-damaged")
            check_video(temporary, level, digest)
            size = temporary.stat().st_size
            publish(temporary, target)
        except ItemError as error:
            told = error.message.replace(str(temporary), str(path))
            raise ItemError(error.reason, told) from error
        finally:
            with suppress(OSError):
                temporary.unlink()
        out.how[way] += 1
        out.bytes += size
        out.came = known
        out.sources.append(path)


def videos_of(catalog: Catalog) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield each video's id with its selected clips as the catalogue lists them."""
    ids = catalog.video_ids
    rows = np.arange(len(ids))
    for begin in range(0, len(rows), VIDEOS_AT_ONCE):
        some = rows[begin : begin + VIDEOS_AT_ONCE]
        clips: dict[int, list[dict[str, Any]]] = {row: [] for row in some.tolist()}
        for table in catalog.clips(some):
            for clip in table.to_pylist():
                clips[clip["video_row"]].append(clip)
        for row, own in clips.items():
            yield ids[row], own


def _told(source: Path | Place) -> str:
    return str(source if isinstance(source, Path) else source.shard)


def _member(clip: dict[str, Any], frames: int, recipe: str) -> Member:
    return Member(
        clip["video_id"], clip["track_id"], clip["clip_name"], clip["label_id"],
        clip["label_name"] or "", frames, recipe,
    )  # fmt: skip
