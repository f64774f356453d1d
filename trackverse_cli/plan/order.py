"""The order in which a rank does its videos, and the videos in that order.

The order by coverage is one of all videos of a catalogue. It hangs on the catalogue alone, so all
ranks and all later runs keep to the same one, and together the ranks go through it from its
beginning. Whoever needs it first reads the column of the classes once and keeps it in `state/`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from trackverse_cli.files import atomic_write
from trackverse_cli.plan.coverage import coverage_order

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from trackverse_cli.catalog import Catalog, Video
    from trackverse_cli.layout import Layout

    Ints = NDArray[np.int64]

Order = Literal["cost", "coverage"]

FIRST_VIDEOS: Final = 16
VIDEOS_AT_ONCE: Final = 256
"""Videos whose boxes are in memory at once: few at first, so that a rank begins soon."""

_VERSION: Final = 1


def rank_order(catalog: Catalog, layout: Layout, rows: Ints, order: Order) -> Ints:
    """Return the rows of a rank in the order in which they are to be done.

    Args:
        catalog: what is meant.
        layout: the dataset folder, where the order is kept.
        rows: (m,) the rank's rows.
        order: `cost` for the order of the index, which reads it fastest; `coverage` for most
            clips and the rarest classes per request first.
    """
    if order == "cost":
        return np.sort(rows)
    places = np.empty(len(catalog.costs), dtype=np.int64)
    places[catalog_order(catalog, layout)] = np.arange(len(places))
    ordered: Ints = np.sort(rows)[np.argsort(places[np.sort(rows)], kind="stable")]
    return ordered


def catalog_order(catalog: Catalog, layout: Layout) -> Ints:
    """Return (v,) all rows of a catalogue by coverage, from `state/` where they are kept."""
    path = layout.state / f"order-{catalog.identity}.npz"
    kept = _load(path, len(catalog.costs))
    if kept is not None:
        return kept
    return keep_order(catalog, layout, *_clips(catalog))


def keep_order(catalog: Catalog, layout: Layout, rows: Ints, classes: Ints) -> Ints:
    """Return the order by coverage, made from its clips, and keep it where that is possible."""
    order = coverage_order(rows, classes, len(catalog.costs))
    path = layout.state / f"order-{catalog.identity}.npz"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            np.savez(file, version=_VERSION, order=order.astype(np.int32))
    except OSError:
        pass  # in a folder that cannot be written every rank makes it for itself
    return order


def kept_order(catalog: Catalog, layout: Layout) -> Ints | None:
    """Return the order by coverage if it is kept, else None."""
    return _load(layout.state / f"order-{catalog.identity}.npz", len(catalog.costs))


def videos_in_order(catalog: Catalog, rows: Ints) -> Iterator[Video]:
    """Yield videos in the order of `rows`, with the boxes of few of them in memory.

    The index is read in its own order, a few hundred videos at a time: scattered rows cost a row
    group each, 30 ms or so, rows that lie together far less.

    Args:
        catalog: what they are of.
        rows: (m,) different rows, in the order wanted.
    """
    size, begin = FIRST_VIDEOS, 0
    while begin < len(rows):
        some = rows[begin : begin + size]
        found = dict(zip(np.sort(some).tolist(), catalog.videos(some), strict=True))
        for row in some.tolist():
            yield found.pop(row)
        begin, size = begin + size, min(2 * size, VIDEOS_AT_ONCE)


def class_codes(table: Any, known: dict[str, int]) -> NDArray[np.int32]:
    """Return (n,) a number for the class of each clip of a table of `Catalog.clips`.

    Args:
        table: the clips.
        known: class -> number so far; new ones are added. A class without a name is called by
            its id; no class at all is "".
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    names = pc.coalesce(table["label_name"], pc.cast(table["label_id"], pa.string()), "")
    coded = pc.dictionary_encode(names).combine_chunks()
    if isinstance(coded, pa.ChunkedArray):
        if not coded.num_chunks:
            return np.empty(0, dtype=np.int32)
        coded = coded.chunk(0)
    own = [known.setdefault(name, len(known)) for name in coded.dictionary.to_pylist()]
    numbers: NDArray[np.int32] = np.array(own, dtype=np.int32)[coded.indices.to_numpy()]
    return numbers


def _clips(catalog: Catalog) -> tuple[Ints, Ints]:
    """Return (c,) the row and (c,) the class of every selected clip."""
    known: dict[str, int] = {}
    rows, classes = [np.empty(0, dtype=np.int32)], [np.empty(0, dtype=np.int32)]
    for table in catalog.clips():
        rows.append(table["video_row"].to_numpy().astype(np.int32))
        classes.append(class_codes(table, known))
    return np.concatenate(rows).astype(np.int64), np.concatenate(classes).astype(np.int64)


def _load(path: Path, videos: int) -> Ints | None:
    import zipfile

    try:
        with np.load(path, allow_pickle=False) as arrays:
            if int(arrays["version"]) != _VERSION:
                return None
            order = arrays["order"].astype(np.int64)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None
    # A file that is not whole must not make a rank leave videos out.
    whole = len(order) == videos and np.array_equal(np.sort(order), np.arange(videos))
    return order if whole else None
