"""Takes over the clips and the source of one video."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from trackverse_cli.adopting.judge import check_sight
from trackverse_cli.adopting.means import Candidate
from trackverse_cli.adopting.media import check_bulk, look_through, read_header, spread
from trackverse_cli.adopting.outcome import Outcome
from trackverse_cli.adopting.witness import Witness
from trackverse_cli.clip_errors import of_file_error
from trackverse_cli.errors import ItemError, RefusedNameError, StorageFullError
from trackverse_cli.files import checksum
from trackverse_cli.outputs import Member
from trackverse_cli.probe import Level, check_clip
from trackverse_cli.reasons import HELD
from trackverse_cli.recipe import ORIGINAL, fits

if TYPE_CHECKING:
    from pathlib import Path

    from trackverse_cli.adopting.means import Means
    from trackverse_cli.adopting.media import ClipHeader
    from trackverse_cli.catalog import Video
    from trackverse_cli.ledger import ClipRecord
    from trackverse_cli.metadata import Track


def take(means: Means, video: Video) -> Outcome:
    """Adopt what is good of one video.

    Raises:
        OSError: the disk of the root refused.
        StorageFullError: nothing more fits there.
        StoppedError: a signal.
    """
    with Witness(means, video) as witness:
        return _Job(means, video, witness).run()


class _Job:
    def __init__(self, means: Means, video: Video, witness: Witness) -> None:
        self._means, self._video, self._witness = means, video, witness
        self._out = Outcome()
        self._brought: list[Path] = []

    def run(self) -> Outcome:
        passing: list[Candidate] = []
        try:
            for track in self._video.selected:
                found = self._standing(track)
                if found is None:
                    continue
                try:
                    passing.append(self._examined(track, found))
                except ItemError as error:
                    self._leave(track, found, error)
            for candidate in self._compared(passing):
                self._keep(candidate)
        finally:
            for temporary in self._brought:
                with suppress(OSError):
                    temporary.unlink()
        there = self._out.clips["adopted"] + self._out.clips["there"]
        self._witness.adopt(self._out, lacking=there < len(self._video.selected))
        return self._out

    def _standing(self, track: Track) -> Path | None:
        """Return the file to look at, or None where there is none or nothing is to be done."""
        means, key = self._means, (track.video_id, track.track_id)
        try:
            own = means.layout.clip(track.clip_name)
            found = means.folder.clip(track.clip_name)
        except (ItemError, RefusedNameError) as error:
            told = error if isinstance(error, ItemError) else ItemError("refused-name", str(error))
            self._leave(track, means.layout.tracks / track.clip_name, told)
            return None
        record = means.ledger.clips.get(key)
        if self._is_settled(key, own, record):
            self._out.clips["there"] += 1
            if record is not None and found is not None and found != own:
                self._settle_rest(own, found, record)
            return None
        self._out.clips["absent"] += found is None
        return found

    def _is_settled(self, key: tuple[str, str], own: Path, record: ClipRecord | None) -> bool:
        means = self._means
        if means.shards.find(*key) is not None:
            return True
        if own.is_symlink() or not own.is_file() or key in means.ledger.failures:
            return False
        if record is not None:
            same_size = own.stat().st_size == record.bytes
            return same_size and fits(record.recipe, means.recipe)
        if means.folder.in_place:
            return False
        # A run may have cut it, and was killed before it could say so.
        with suppress(ItemError):
            check_clip(own, *key, means.recipe, None, Level.PROBE)
            return True
        return False

    def _settle_rest(self, own: Path, found: Path, record: ClipRecord) -> None:
        """Let a stopped move go on: what is here to the last byte may go there."""
        if self._means.options.move and record.checksum == checksum(found) == checksum(own):
            self._out.sources.append(found)

    def _examined(self, track: Track, found: Path) -> Candidate:
        """Return a clip that is whole, with what its pictures are to be held against."""
        header = read_header(found)
        if header.newer:
            told = f"a later version of trackverse wrote it (format {header.newer!a})"
            raise ItemError("other-recipe", told)
        wanted = None
        if header.origin is None:
            check_bulk(header)
            self._check_known(track, found, header)
            wanted = self._witness.wanted(track, header)
        candidate = self._brought_clip(track, found, header)
        if header.origin is not None:
            record = self._means.folder.ledger.clips.get((track.video_id, track.track_id))
            level = Level.DECODE if record is None else Level.CHECKSUM
            name = (track.video_id, track.track_id, self._means.recipe)
            check_clip(candidate.at, *name, record, level)
            return candidate
        if candidate.at != found and read_header(candidate.at) != header:
            raise ItemError("clip-damaged", "it changed while it was read")
        numbers = frozenset(spread(header.frames))
        candidate.sight = look_through(candidate.at, header, numbers, self._means.eyes.stop)
        candidate.wanted = wanted
        candidate.recipe = ORIGINAL
        return candidate

    def _check_known(self, track: Track, found: Path, header: ClipHeader) -> None:
        """Hold a clip that was adopted before, and found damaged since, against its record."""
        record = self._means.ledger.clips.get((track.video_id, track.track_id))
        if record is None or record.recipe != ORIGINAL or not self._is_own(track, found):
            return
        if record.bytes == header.bytes and record.checksum != checksum(found):
            raise ItemError("clip-damaged", "it has another checksum than when it was adopted")

    def _brought_clip(self, track: Track, found: Path, header: ClipHeader) -> Candidate:
        means = self._means
        at, way = found, ""
        if means.sink is not None and not self._is_own(track, found):
            try:
                at = means.sink.temporary(track.clip_name)
                self._brought.append(at)
                way = means.carrier.bring(found, at, "clip-damaged")
            except (OSError, RefusedNameError) as error:
                raise _of_disk(error, track) from error
        return Candidate(track, found, at, way, header, means.recipe)

    def _is_own(self, track: Track, found: Path) -> bool:
        """Say whether a clip stands already where it belongs."""
        try:
            own = self._means.layout.clip(track.clip_name)
        except RefusedNameError:
            return False
        return self._means.folder.in_place and own.name == found.name and _same(own, found)

    def _compared(self, passing: list[Candidate]) -> list[Candidate]:
        """Return those whose pictures are the video's own."""
        for one in passing:
            if one.wanted is not None:
                self._witness.ask(one.track, one.header, one.wanted)
        good = []
        for one in passing:
            try:
                if one.wanted is not None and one.sight is not None:
                    check_sight(one.sight, one.wanted, self._witness.shown(one.track))
                good.append(one)
            except ItemError as error:
                self._leave(one.track, one.found, error)
        return good

    def _keep(self, one: Candidate) -> None:
        """Put a good clip into its place, if it is not there, and have it recorded."""
        out, track = self._out, one.track
        size, digest = one.header.bytes, ""
        if self._means.sink is not None:
            try:
                if one.way:
                    done = self._means.sink.store(one.at, _member(one))
                    size, digest = done.bytes, done.checksum
                    out.how[one.way] += 1
                    out.sources.append(one.found)
                else:
                    digest = checksum(one.at)
            except (OSError, RefusedNameError) as error:
                self._leave(track, one.found, _of_disk(error, track))
                return
            done_line = (track.track_id, one.header.frames, size, digest)
            out.recipes.setdefault(one.recipe, []).append(done_line)
        out.clips["adopted"] += 1
        out.unproven += one.recipe == ORIGINAL and one.wanted is None
        out.bytes += size

    def _leave(self, track: Track, found: Path, error: ItemError) -> None:
        """Name a clip that fails; one that stands in this root is recorded as well."""
        self._out.leave_clip(track.clip_name, error)
        if error.reason not in HELD | {"clip-damaged"} or not self._is_own(track, found):
            return
        # What is held stays until somebody asks; what is damaged is due at once, as ever.
        again = self._means.options.redo or error.reason not in HELD
        reason = "clip-damaged" if again else error.reason
        self._out.marked += again
        known = self._means.ledger.failures.get((track.video_id, track.track_id))
        if known is None or (known.reason, known.message) != (reason, error.message):
            self._out.failed.append((track.track_id, reason, error.message))


def _same(one: Path, other: Path) -> bool:
    try:
        return one.parent.samefile(other.parent)
    except OSError:
        return False


def _of_disk(error: Exception, track: Track) -> ItemError:
    told = of_file_error(error, track.clip_name)
    if isinstance(told, StorageFullError):
        raise told from error
    return ItemError(*told)


def _member(one: Candidate) -> Member:
    track: Any = one.track
    ids, names = track.label_ids, track.label_names
    return Member(
        track.video_id, track.track_id, track.clip_name, ids[0] if ids else None,
        names[0] if names else "", one.header.frames, one.recipe,
    )  # fmt: skip
