"""The folder of an index with damaged files: what it held, or a sentence with the way out."""

from __future__ import annotations

import gzip
import shutil
from typing import TYPE_CHECKING

from tests.fuzz import metadata
from trackverse_cli.errors import IndexUnusableError
from trackverse_cli.index import open_index
from trackverse_cli.index.build import build_index
from trackverse_cli.layout import Layout

if TYPE_CHECKING:
    from pathlib import Path

NAME = "Tiny"
TABLES = ("index.json", "tracks", "videos", "refused", "duplicates")
_GOOD = "good"


def seeds() -> list[bytes]:
    """Return edits: which file, where in it (two bytes, of 65536), and what stands there then."""
    out = [bytes([0, 255, 255]) + b"{}", bytes([0, 0, 0]), b"\xff\xfb\x05\x7f"]
    out += [
        bytes([table, at, 17 * at % 256]) + what
        for table in range(5)
        for at in (0, 40, 128, 200, 250, 255)
        for what in (b"\0", b"\xff\xff\xff\xff", b'": null', b"../../../x")
    ]
    return out


def check(data: bytes, folder: Path) -> None:
    """Damage one file of a good index by what `data` says, then read all of it."""
    if len(data) < 3:
        return
    layout = Layout(folder)
    good = folder / _GOOD
    if not good.is_dir():
        _make(layout)
        shutil.copytree(layout.index(NAME), good)
    target = layout.index(NAME)
    for path in good.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    table = TABLES[data[0] % len(TABLES)]
    file = next(path for path in target.iterdir() if path.name.startswith(table))
    content = file.read_bytes()
    place = int.from_bytes(data[1:3], "big")
    if place == 0xFFFF:
        content = data[3:]
    else:
        at = place * len(content) >> 16
        content = content[:at] + data[3:] + content[at + len(data) - 3 :]
    file.write_bytes(content)
    try:
        _read_all(layout)
    except IndexUnusableError as error:
        said = str(error)
    else:
        return
    assert "fetch-meta" in said, "the way out is named"
    assert said.isprintable()


def _read_all(layout: Layout) -> None:
    index = open_index(layout, NAME)
    assert len(index.costs) == len(index.video_ids) == len(index.track_counts)
    for video in index.videos():
        for track in video.tracks:
            assert len(track.frame_ts) == len(track.frame_bboxes)
    index.clips().num_rows  # noqa: B018 - reading is the point
    assert len(index.refused) >= 0
    index.duplicates()


def _make(layout: Layout) -> None:
    layout.metadata.mkdir(parents=True)
    source = layout.metadata / f"{NAME}.jsonl.gzip"
    source.write_bytes(gzip.compress(b"\n".join(metadata.seeds())))
    build_index(source, layout, NAME)
    source.unlink()
