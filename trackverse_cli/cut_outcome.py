"""What became of the clips of one video: waited for, handed to the sink, told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from trackverse_cli.clip_errors import of_file_error
from trackverse_cli.errors import ItemError, RefusedNameError, StoppedError, TryLaterError
from trackverse_cli.means import lacking

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trackverse_cli.clips import ClipDone, ClipInProgress
    from trackverse_cli.outputs import ClipSink

Failed = tuple[str, str, str]
"""(track id, reason, message)."""


@dataclass(frozen=True, slots=True)
class CutOutcome:
    """What became of the wanted tracks of one video.

    Attributes:
        done: the clips that were cut.
        failed: (track id, reason, message) of the others.
        note: what the decoder and the encoders did otherwise than asked, such as to fall back
            from a GPU; else "".
    """

    done: tuple[ClipDone, ...]
    failed: tuple[Failed, ...]
    note: str = ""


class PartlyCutError(Exception):
    """A video was left early; what was finished of it stands and wants to be recorded.

    Attributes:
        outcome: what was finished.
        cause: why it ended: StoppedError, TryLaterError or LacksError.
    """

    def __init__(self, outcome: CutOutcome, cause: Exception) -> None:
        super().__init__(str(cause))
        self.outcome = outcome
        self.cause = cause


def collect(
    clips: Sequence[ClipInProgress],
    sink: ClipSink,
    failed: Sequence[Failed],
    notes: Sequence[str],
    cause: Exception | None,
) -> CutOutcome:
    """Wait for clips and return what became of them.

    Args:
        clips: those that were begun, in the order in which the sink is to have them.
        sink: where they go.
        failed: the tracks of which none was begun.
        notes: of the decoders.
        cause: why the video was left early, if it was.

    Raises:
        PartlyCutError: the video was left early, or is now: it was stopped, the storage is full,
            or the process may have no more memory or files.
    """
    done: list[ClipDone] = []
    lost = list(failed)
    serious: Exception | None = None
    for clip in clips:
        try:
            done.append(clip.result.result())
        except ItemError as error:
            lost.append((clip.track.track_id, error.reason, error.message))
        except (OSError, RefusedNameError) as error:
            told = lacking(error) or of_file_error(error, clip.track.clip_name)
            if isinstance(told, Exception):
                serious = told
            else:
                lost.append((clip.track.track_id, *told))
        except StoppedError as error:
            serious = error
    kept, refused, refusal = _gathered(sink, done)
    all_notes = dict.fromkeys([*notes, *(clip.note for clip in kept)])
    note = "; ".join(filter(None, all_notes))
    outcome = CutOutcome(tuple(kept), (*lost, *refused), note)
    serious = cause or refusal or serious
    if serious is not None:
        raise PartlyCutError(outcome, serious) from serious
    return outcome


def _gathered(
    sink: ClipSink, done: Sequence[ClipDone]
) -> tuple[list[ClipDone], list[Failed], Exception | None]:
    """Hand clips to the sink; return what it took, what it refused, and if its storage is full."""
    gathered = sink.gather([clip.finished for clip in done])
    taken = {clip.member.track_id: clip for clip in gathered.clips}
    kept = [replace(c, finished=taken[c.track_id]) for c in done if c.track_id in taken]
    if gathered.error is None:
        return kept, [], None
    lost = [clip for clip in done if clip.track_id not in taken]
    told = of_file_error(gathered.error, lost[0].finished.member.clip_name)
    if isinstance(told, TryLaterError):
        return kept, [], told
    return kept, [(clip.track_id, *told) for clip in lost], None
