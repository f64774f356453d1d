"""What a metadata line may hold: typed access to its fields, and what is wrong with a value."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_TRACK_ID_CHARACTERS = 255
_SHOWN_CHARACTERS = 300


class FieldError(Exception):
    """A field that is missing or of the wrong type; the message is one sentence that names it."""


class Fields:
    """The fields of one decoded JSON object, each under the first of its names that has a value.

    Args:
        fields: the object; null counts as missing.
    """

    def __init__(self, fields: dict[str, Any]) -> None:
        self._fields = fields

    def _fail(self, message: str) -> NoReturn:
        raise FieldError(message)

    def _first(self, names: Sequence[str]) -> tuple[str, Any]:
        for name in names:
            if self._fields.get(name) is not None:
                return name, self._fields[name]
        return names[0], None

    def _needed(self, names: Sequence[str]) -> tuple[str, Any]:
        name, value = self._first(names)
        if value is None:
            self._fail(f"the field {' or '.join(names)} is missing")
        return name, value

    def text(self, *names: str, number: bool = False) -> str:
        """Return a text that must be there; with `number`, a whole number will do."""
        name, value = self._needed(names)
        if number and type(value) is int and abs(value) < 1 << 63:
            return str(value)
        if not isinstance(value, str):
            self._fail(f"the field {name} is no text")
        return str(value)

    def _list(self, names: Sequence[str]) -> tuple[str, list[Any] | None]:
        name, value = self._first(names)
        if value is not None and not isinstance(value, list):
            self._fail(f"the field {name} is no list")
        return name, value

    def texts(self, *names: str) -> list[str] | None:
        """Return a list of texts, or None."""
        name, values = self._list(names)
        if values is not None and not all(isinstance(value, str) for value in values):
            self._fail(f"the field {name} holds something that is no text")
        return values

    def integers(self, *names: str) -> list[int] | None:
        """Return a list of whole numbers, or None."""
        name, values = self._list(names)
        if values is not None and not all(type(value) is int for value in values):
            self._fail(f"the field {name} holds something that is no whole number")
        return values

    def numbers(self, *names: str) -> list[float] | None:
        """Return a list of numbers, NaN and infinities included, or None."""
        name, values = self._list(names)
        return None if values is None else [self._number(name, value) for value in values]

    def _number(self, name: str, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            self._fail(f"the field {name} holds something that is no number")
        try:
            return float(value)
        except OverflowError:
            return math.inf

    def boxes(self, *names: str) -> list[list[float]]:
        """Return lists of four numbers; the field must be there."""
        self._needed(names)
        name, values = self._list(names)
        boxes = []
        for value in values or ():
            if not isinstance(value, list) or len(value) != 4:
                self._fail(f"the field {name} holds something that is no box of 4 numbers")
            boxes.append([self._number(name, number) for number in value])
        return boxes

    def size(self, name: str) -> tuple[int, int] | None:
        """Return two whole numbers, or None."""
        values = self.numbers(name)
        if values is None:
            return None
        if len(values) != 2 or not all(math.isfinite(side) for side in values):
            self._fail(f"the field {name} is no [height, width]")
        return int(values[0]), int(values[1])


def shown(name: str) -> str:
    """Return a name from metadata in ASCII, short enough to print."""
    return ascii(name)[1:-1][:_SHOWN_CHARACTERS]


def problem_of_lengths(
    times: Sequence[float] | None, span: Sequence[float] | None, boxes: Sequence[Sequence[float]]
) -> str | None:
    """Say why times (of `frame_ts`, else of `track_ts`) and boxes do not belong together."""
    if not boxes:
        return "the track has no boxes"
    if times is not None:
        if len(times) != len(boxes):
            return f"{len(times)} times in frame_ts belong to {len(boxes)} boxes"
    elif span is None:
        return "the field frame_ts is missing"
    elif len(span) != len(boxes):
        return (
            f"the field frame_ts is missing, and track_ts has {len(span)} times "
            f"for {len(boxes)} boxes"
        )
    return None


def text_is_fit(text: str) -> bool:
    """Say whether a track id can be stored and printed."""
    return 0 < len(text) <= _TRACK_ID_CHARACTERS and text.isprintable()


def problem_of_text(track_id: str, label_names: Sequence[str]) -> str | None:
    """Say which text cannot be stored or printed."""
    if not text_is_fit(track_id):
        return (
            f"the track id {shown(track_id)!r} is empty, over {_TRACK_ID_CHARACTERS} characters "
            "or not printable"
        )
    try:
        for name in label_names:
            name.encode()
    except UnicodeEncodeError:
        return "a class name is not valid UTF-8"
    return None


def problem_of_size(video_size: tuple[int, int] | None) -> str | None:
    """Say why a [height, width] is none."""
    if video_size is not None and not all(0 < side < 1 << 31 for side in video_size):
        return f"the video_size {list(video_size)} is no [height, width]"
    return None


def problem_of_numbers(
    frame_ts: NDArray[np.float64], frame_bboxes: NDArray[np.float64]
) -> str | None:
    """Say which of (n,) times and (n, 4) boxes cannot be used."""
    for values, what in ((frame_bboxes, "a box"), (frame_ts, "a time in frame_ts or track_ts")):
        if not np.isfinite(values).all():
            kind = "NaN" if np.isnan(values).any() else "an infinite number"
            return f"{what} holds {kind}"
    flat = np.flatnonzero((frame_bboxes[:, 2] <= 0) | (frame_bboxes[:, 3] <= 0))
    if len(flat):
        _, _, width, height = frame_bboxes[flat[0]]
        return f"box {flat[0] + 1} is {width:g} wide and {height:g} high"
    return None
