"""Box numbers of at most two decimals, in half the bytes, and the same again to the last bit.

As doubles their bytes look random. As the nearest float32 they are cheap to write, small and still
pixels to whoever queries the index; rounded to two decimals they are what the file said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

BOX_COLUMNS: Final = ("x", "y", "w", "h")


def halved(values: NDArray[np.float64]) -> NDArray[np.float32] | None:
    """Return the float32 of which `whole` makes these numbers again, or None if it would not."""
    with np.errstate(over="ignore", invalid="ignore"):
        half = values.astype(np.float32)
        return half if np.array_equal(whole(half), values) else None


def whole(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return box numbers of the index as what the metadata file said; doubles are that already."""
    if values.dtype == np.float64:
        return values
    numbers = values.astype(np.float64)
    numbers *= 100
    np.rint(numbers, out=numbers)
    numbers /= 100
    return numbers


def is_halved(table: Any) -> bool:
    """Say whether a table of tracks has its boxes as float32."""
    return bool(table.schema.field(BOX_COLUMNS[0]).type.value_type.bit_width == 32)


def widened(table: Any) -> Any:
    """Return a table of tracks with its boxes as doubles."""
    import pyarrow as pa

    for name in BOX_COLUMNS if is_halved(table) else ():
        lists = [
            pa.ListArray.from_arrays(chunk.offsets, pa.array(whole(chunk.values.to_numpy())))
            for chunk in table[name].chunks
        ]
        place = table.schema.get_field_index(name)
        kind = pa.list_(pa.float64())
        table = table.set_column(place, pa.field(name, kind), pa.chunked_array(lists, kind))
    return table


def of_one_type(tables: Sequence[Any]) -> list[Any]:
    """Return tables of tracks of one type: with doubles if one of them has these."""
    if all(is_halved(table) for table in tables):
        return list(tables)
    return [widened(table) for table in tables]
