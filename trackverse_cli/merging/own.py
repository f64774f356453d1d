"""What the taking root holds of a clip: judged by its bytes, since it is about to be kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trackverse_cli.checked import Checked, Stamp
from trackverse_cli.errors import ItemError, RefusedNameError
from trackverse_cli.files import checksum
from trackverse_cli.ledger import ClipRecord, LedgerState
from trackverse_cli.outputs import Place, ShardIndex, check_member
from trackverse_cli.probe import Level, check_clip

if TYPE_CHECKING:
    from pathlib import Path

    from trackverse_cli.layout import Layout


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands here of a clip.

    Attributes:
        state: `sound`, `damaged` or `absent`.
        place: where in a shard, if it stands in one.
        news: what to record of a sound clip that the ledger does not know, or calls damaged.
        stamp: what to remember of a file that was found sound.
    """

    state: str
    place: Place | None = None
    news: ClipRecord | None = None
    stamp: Stamp | None = None


ABSENT = Standing("absent")


@dataclass(slots=True)
class Own:
    """The root that takes.

    Attributes:
        layout: its folder.
        ledger: what its runs recorded.
        shards: what its shards hold.
        recipe: how its clips are to be cut.
        checked: what an interrupted merge found sound, or None.
    """

    layout: Layout
    ledger: LedgerState
    shards: ShardIndex
    recipe: str
    checked: Checked | None

    def clip(self, video_id: str, track_id: str, clip_name: str) -> Standing:
        """Judge one clip by every byte of it; raises RefusedNameError for its name."""
        key = (video_id, track_id)
        path = self.layout.clip(clip_name)
        record = self.ledger.clips.get(key)
        if not path.exists() and not path.is_symlink():
            place = self.shards.find(*key)
            if place is None:
                return ABSENT
            return self._member(place, key, record)
        stamp = Stamp.of(path, " ".join(key)) if self.checked is not None else None
        if stamp is not None and self.checked is not None and self.checked.holds(stamp):
            return Standing("sound")
        # Without a checksum to hold it against, every frame of it has to be looked at.
        level = Level.DECODE if record is None else Level.CHECKSUM
        try:
            facts = check_clip(path, *key, self.recipe, record, level)
        except ItemError:
            return Standing("damaged")
        news = None
        if record is None or key in self.ledger.failures:
            digest = checksum(path)
            news = ClipRecord(self.recipe, facts.frames, facts.bytes, digest)
        return Standing("sound", news=news, stamp=stamp)

    def _member(self, place: Place, key: tuple[str, str], record: ClipRecord | None) -> Standing:
        try:
            check_member(place, *key, self.recipe, None, Level.CHECKSUM)
        except ItemError:
            return Standing("damaged", place)
        said = ClipRecord(place.recipe, place.frames, place.size, place.checksum)
        news = said if record is None or key in self.ledger.failures else None
        return Standing("sound", place, news)

    def refuses(self, clip_name: str) -> str | None:
        """Return why a clip's name leads out of this root, or None if it does not."""
        try:
            self.layout.clip(clip_name)
        except RefusedNameError as error:
            return str(error)
        return None


def write_member(place: Place, target: Path) -> None:
    """Copy a clip out of a shard; raises OSError, or ItemError `clip-damaged`."""
    from trackverse_cli.outputs.check import read_member

    with target.open("xb") as file:
        file.writelines(read_member(place))
