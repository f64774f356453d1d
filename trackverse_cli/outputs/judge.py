"""The verdict on a clip that may stand in a shard instead of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trackverse_cli.errors import ItemError
from trackverse_cli.outputs.check import check_member
from trackverse_cli.recipe import fits
from trackverse_cli.worklist import CLIP_FAULTS, COMPLETE, State, Verdict

if TYPE_CHECKING:
    from trackverse_cli.ledger import LedgerState
    from trackverse_cli.outputs.index import Place
    from trackverse_cli.probe import Level


def judge_member(
    place: Place, video_id: str, track_id: str, recipe: str, ledger: LedgerState, level: Level
) -> Verdict:
    """Judge one clip in a shard: complete, or damaged and why.

    Args:
        place: where it stands.
        video_id: the video that it must come from.
        track_id: the track that it must show.
        recipe: how it must have been cut.
        ledger: what all runs recorded; a check that failed there stands at a lower level.
        level: how closely to look.
    """
    from trackverse_cli.probe import Level

    failure = ledger.failures.get((video_id, track_id))
    if failure is not None and failure.reason == "clip-damaged" and level < Level.CHECKSUM:
        return Verdict(State.DAMAGED, failure.reason, failure.message)
    try:
        check_member(place, video_id, track_id, recipe, None, level)
    except ItemError as error:
        return Verdict(State.DAMAGED, error.reason, error.message)
    return COMPLETE


def judge_listed(
    place: Place, video_id: str, track_id: str, recipe: str, ledger: LedgerState
) -> Verdict:
    """Judge one clip in a shard by the index and the ledger alone, as `Worklist.clip` does."""
    failure = ledger.failures.get((video_id, track_id))
    if failure is not None and failure.reason in CLIP_FAULTS:
        return Verdict(State.DAMAGED, failure.reason, failure.message)
    if not place.is_there:
        return Verdict(State.DAMAGED, "clip-damaged", f"{place.shard} is cut short")
    if not fits(place.recipe, recipe):
        told = f"a clip in {place.shard} was cut with recipe {place.recipe}"
        return Verdict(State.DAMAGED, "other-recipe", told)
    return COMPLETE
