"""The columns of the index, version 2, and tables that have them.

`tracks-*.parquet`, a row for each track, the tracks of a video together:

- `video_row`: the row of its video in `videos-*.parquet`.
- `video_id`, `track_id`, `clip_name`: as in `metadata.Track`.
- `line`: where the metadata file has it, from 1.
- `first_ts`, `last_ts`: the earliest and the latest time of a box, seconds.
- `label_id`, `label_name`: the best class, or null; `label_ids`, `label_names`: all, best first.
- `video_height`, `video_width`: what the boxes were made on, where the file says it, or null.
- `frame_ts`, `x`, `y`, `w`, `h`: lists of equal length, seconds and pixels; pixels as float where
  the whole file has at most two decimals (`index.hundredths` makes them exact), else as double.

`videos-*.parquet`, a row for each video: `video_id`, `tracks` (how many), `row_group` and
`first_row` (where they are in the tracks), `decoded_seconds`, `encoded_seconds`, `cost`.

`refused-*.parquet`: `line`, `reason`, `message`, `clip_name`.

`duplicates-*.parquet`: `line`, `kind` (`track`: an earlier line has the same video id and track
id; `clip`: an earlier line has the same clip name), `video_id`, `track_id`, `clip_name`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trackverse_cli.index.hundredths import BOX_COLUMNS, halved

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from trackverse_cli.metadata import Track

SCHEMA_VERSION: Final = 2
NUMBER_COLUMNS: Final = ("frame_ts", *BOX_COLUMNS)
CLIP_COLUMNS: Final = (
    "video_row",
    "video_id",
    "track_id",
    "clip_name",
    "first_ts",
    "last_ts",
    "label_id",
    "label_name",
)


def track_schema(*, half: bool = False) -> Any:
    """Return the columns of a track as an Arrow schema, without `video_row`.

    Args:
        half: boxes as float32, which `index.hundredths` makes exact.
    """
    import pyarrow as pa

    return pa.schema(
        [
            ("video_id", pa.string()),
            ("track_id", pa.string()),
            ("clip_name", pa.string()),
            ("line", pa.int64()),
            ("first_ts", pa.float64()),
            ("last_ts", pa.float64()),
            ("label_id", pa.int32()),
            ("label_name", pa.string()),
            ("label_ids", pa.list_(pa.int32())),
            ("label_names", pa.list_(pa.string())),
            ("video_height", pa.int32()),
            ("video_width", pa.int32()),
            ("frame_ts", pa.list_(pa.float64())),
            *((name, pa.list_(pa.float32() if half else pa.float64())) for name in BOX_COLUMNS),
        ]
    )


def refused_schema() -> Any:
    """Return the columns of a refused line."""
    import pyarrow as pa

    return pa.schema(
        [
            ("line", pa.int64()),
            ("reason", pa.string()),
            ("message", pa.string()),
            ("clip_name", pa.string()),
        ]
    )


def duplicate_schema() -> Any:
    """Return the columns of a line that repeats an earlier one."""
    import pyarrow as pa

    text = pa.string()
    return pa.schema(
        [
            ("line", pa.int64()),
            ("kind", text),
            ("video_id", text),
            ("track_id", text),
            ("clip_name", text),
        ]
    )


def make_table(
    counts: NDArray[np.int64],
    values: Sequence[NDArray[np.float64]],
    names: tuple[Sequence[int], Any, Any, Any],
    sizes: Sequence[tuple[int, int] | None],
    labels: tuple[NDArray[np.int64], NDArray[np.int32], Any],
) -> Any:
    """Return an Arrow table of m tracks.

    Args:
        counts: (m,) boxes of each track, at least one.
        values: times, x, y, w, h of all boxes one after the other, each (sum of counts,).
        names: line, video id, track id and clip name, m each; strings or an Arrow array of them.
        sizes: m (height, width) or None.
        labels: (m,) how many class ids each track has, all of them one after the other, and the
            class names of each track, m: sequences or an Arrow array of lists.
    """
    import pyarrow as pa

    offsets = _offsets(counts)
    first = np.minimum.reduceat(values[0], offsets[:-1])
    last = np.maximum.reduceat(values[0], offsets[:-1])
    halves = [half for column in values[1:] if (half := halved(column)) is not None]
    is_half = len(halves) == len(BOX_COLUMNS)
    schema = track_schema(half=is_half)
    label_counts, label_ids, label_names = labels
    lines, video_ids, track_ids, clip_names = names
    if not isinstance(label_names, pa.Array):
        label_names = pa.array(label_names, schema.field("label_names").type)
    columns: list[Any] = [
        video_ids,
        track_ids,
        clip_names,
        lines,
        first,
        last,
        _first_of_each(label_counts, pa.array(label_ids)),
        _first_of_each(np.diff(label_names.offsets.to_numpy()), label_names.values),
        pa.ListArray.from_arrays(pa.array(_offsets(label_counts)), pa.array(label_ids)),
        label_names,
        [size and size[0] for size in sizes],
        [size and size[1] for size in sizes],
    ]
    arrays = [
        column if isinstance(column, pa.Array) else pa.array(column, field.type)
        for column, field in zip(columns, schema, strict=False)
    ]
    shared = pa.array(offsets)
    numbers = [values[0], *(halves if is_half else values[1:])]
    arrays += [pa.ListArray.from_arrays(shared, pa.array(column)) for column in numbers]
    return pa.table(arrays, schema=schema)


def _offsets(counts: NDArray[np.int64]) -> NDArray[np.int32]:
    offsets = np.zeros(len(counts) + 1, dtype=np.int32)
    np.cumsum(counts, out=offsets[1:])
    return offsets


def _first_of_each(counts: NDArray[Any], values: Any) -> Any:
    """Return the first of each track's values, or null where it has none."""
    import pyarrow as pa

    starts = pa.array(np.cumsum(counts) - counts, mask=counts == 0)
    return values.take(starts)


def table_of_tracks(tracks: Sequence[tuple[int, Track]]) -> Any:
    """Return an Arrow table of (line, track)."""
    boxes = np.concatenate([track.frame_bboxes for _, track in tracks])
    return make_table(
        np.array([len(track.frame_ts) for _, track in tracks], dtype=np.int64),
        [
            np.concatenate([track.frame_ts for _, track in tracks]),
            *(np.ascontiguousarray(boxes[:, column]) for column in range(4)),
        ],
        (
            [line for line, _ in tracks],
            [track.video_id for _, track in tracks],
            [track.track_id for _, track in tracks],
            [track.clip_name for _, track in tracks],
        ),
        [track.video_size for _, track in tracks],
        (
            np.array([len(track.label_ids) for _, track in tracks], dtype=np.int64),
            np.array([label for _, track in tracks for label in track.label_ids], dtype=np.int32),
            [track.label_names for _, track in tracks],
        ),
    )
