"""What helps against each reason, in one sentence."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from trackverse_cli.reasons import UNRECOVERABLE
from trackverse_cli.worklist import CLIP_FAULTS, State

_RUN: Final = "run the command above"

HELP: Final = MappingProxyType(
    {
        "needs-cookies": "export cookies of a signed-in browser and give them with --cookies FILE",
        "throttled": "wait for an hour or more; the pace in [pace] decides how soon it comes again",
        "transient": "run again; what fails once more is put off for longer each time",
        "offline": "see whether this machine reaches the host (trackverse doctor --online)",
        "tool": "pip install -U 'yt-dlp[default]', then run again",
        "later": "run again when the video is out",
        "ambiguous": "run again tomorrow; two such answers a day apart count as gone",
        "video-missing": _RUN,
        "not-tried": _RUN,
        "not-cut": _RUN,
        "video-damaged": "run again; trackverse show VIDEO tells what was tried",
        "empty-span": "nothing known; trackverse show TRACK tells what was tried",
        "write-failed": "see that the dataset folder can be written, then run again",
        "encoder-failed": "see whether [encode] asks for what this machine has (trackverse doctor)",
        "clip-damaged": "run again; it is cut anew",
        "lacks-tail": "trackverse adopt --redo; until then it stays as it is",
        "wrong-crop": "trackverse adopt --redo; until then it stays as it is",
        "other-recipe": "set [encode] as it was when they were cut, or run again to cut them anew",
    }
)


def helps(reason: str) -> str:
    """Return what to do about a reason."""
    if reason in UNRECOVERABLE:
        return "nothing; no retry wins it"
    return HELP.get(reason, "run again; trackverse show ID tells what was tried")


def state_of(reason: str) -> State:
    """Return where a clip stands that is not complete for a reason."""
    if reason in UNRECOVERABLE:
        return State.UNRECOVERABLE
    return State.DAMAGED if reason in CLIP_FAULTS else State.MISSING
