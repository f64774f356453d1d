"""The released subsets of TrackVerse: what each is called, how large it is, which file holds it."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Final

from trackverse_cli.errors import UsageError

HUB_REPOSITORY: Final = "yibingwei/TrackVerse"
"""The dataset on the Hugging Face Hub that holds the files."""


@dataclass(frozen=True, slots=True)
class Subset:
    """One subset as the dataset's authors announce it.

    Attributes:
        name: what `fetch-meta` and `--meta` call it.
        tracks: how many tracks it is said to hold, rounded as announced.
        file: its file's name, or "" where there is none with boxes.
        note: why it cannot be fetched, or "".
    """

    name: str
    tracks: int
    file: str
    note: str = ""


SUBSETS: Final = (
    Subset("82K-CB100", 82_000, "TrackVerseLVIS-CB100-82K.jsonl.gzip"),
    Subset("184K-CB300", 184_000, "TrackVerseLVIS-CB300-184K.jsonl.gzip"),
    Subset("259K-CB500", 259_000, "TrackVerseLVIS-CB500-259K.jsonl.gzip"),
    Subset("392K-CB1000", 392_000, "TrackVerseLVIS-CB1000-392K.jsonl.gzip"),
    Subset("1121K-CB2500", 1_121_000, "TrackVerse-1121K-cls1171CB2500.jsonl.gzip"),
    Subset("3778K-CB8000", 3_778_000, "TrackVerse-3778K-cls1182CB8000.jsonl.gzip"),
    Subset("full", 31_900_000, "", "it is announced but not released yet"),
    Subset(
        "validation",
        4_782,
        "",
        "it is a list of clip names and labels without boxes, so it cannot be fetched as metadata",
    ),
)
"""Every subset, smallest first, with those that cannot be fetched at the end."""


def fetchable() -> list[str]:
    """Return the names of the subsets that `fetch-meta` can bring."""
    return [subset.name for subset in SUBSETS if subset.file]


def find_subset(name: str) -> Subset | None:
    """Return the subset that `name` means, upper and lower case alike, or None.

    Raises:
        UsageError: there is such a subset, and no file of it to fetch.
    """
    by_name = {subset.name.lower(): subset for subset in SUBSETS}
    subset = by_name.get(name.lower())
    if subset and not subset.file:
        raise UsageError(
            f"the subset {subset.name} has no metadata file: {subset.note}; "
            f"choose one of {', '.join(fetchable())}"
        )
    return subset


def nearest(wanted: str, known: list[str]) -> str:
    """Return the end of a sentence that helps after an unknown name: the nearest, or all."""
    close = difflib.get_close_matches(wanted, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]}?"
    return f"known are {', '.join(known)}" if known else "none is known"
