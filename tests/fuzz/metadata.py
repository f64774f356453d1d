"""One line of metadata: a track that keeps every promise, or a reason; both readers agree."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from trackverse_cli.index.hundredths import widened
from trackverse_cli.index.rows import read_text
from trackverse_cli.layout import Layout
from trackverse_cli.metadata import LineError, Track, parse_line

if TYPE_CHECKING:
    from pathlib import Path

REASONS = ("refused-name", "invalid-track")
CURRENT = {
    "track_id": "t1", "yid": "abcdefghijk", "track_ts": [0.0, 1.0], "frame_ts": [0.0, 0.5],
    "frame_bboxes": [[1.0, 2.0, 30.0, 40.0], [1.5, 2.0, 30.0, 40.0]],
    "track_mp4_filename": "Tiny/ab/abcdefghijk-disc-t1.mp4",
    "top10_label_ids": [7, -1], "top10_label_names": ["disc", "<b>disc</b>"],
}  # fmt: skip
EARLY = {
    "track_id": "t1", "yid": "abcdefghijk", "track_ts": [0.0, 0.5], "video_size": [180, 320],
    "frame_bboxes": [[1, 2, 30, 40], [1e-3, 2, 30, 40]], "mp4_filename": "a.mp4",
    "top10_lbl": [7], "top10_desc": ["a photo of a disc (also known as puck)."],
}  # fmt: skip
RAW = {
    "tid": 12, "yid": "-_cdefghijk", "fn": "raw/ä b.mp4", "track_ts": [3],
    "track_bbox": [[0, 0, 5, 5]],
}  # fmt: skip


def seeds() -> list[bytes]:
    """Return a line of each dialect, and lines that are nearly good."""
    lines = [json.dumps(each).encode() for each in (CURRENT, EARLY, RAW)]
    lines.append(json.dumps(RAW, ensure_ascii=False).encode())
    twice = lines[0].replace(b"0.5]", b"NaN]"), lines[0].replace(b'"yid"', b'"yid": 1, "yid"')
    names = [b"../x", b"/x", b"a\\u0000b", b"\\ud800", b"x" * 300, b"a//b", b"\\u202e"]
    named = [lines[0].replace(b"Tiny/ab", name) for name in names]
    return [*lines, *twice, *named, b"[" * 200, b"{}", b"null", b"\xff\xfe", b"1e999"]


def check(data: bytes, folder: Path) -> None:
    """Read `data` as one line, carefully and quickly."""
    line = data.replace(b"\n", b" ")
    if not line or line.isspace():
        return
    track: Track | None = None
    refused: LineError | None = None
    try:
        track = parse_line(line)
    except LineError as error:
        refused = error
    if refused is not None:
        assert refused.reason in REASONS, refused.reason
        assert 0 < len(refused.message) < 1000, "a reason is a sentence"
        assert refused.message.isprintable(), "a reason fits on one line"
    if track is not None:
        _keeps_promises(track, Layout(folder))
    found, table = read_text(1, line)
    assert found.lines == 1
    assert table.num_rows + len(found.refused) == 1, "a line is a track or refused"
    assert (table.num_rows == 1) == (track is not None), "both ways of reading agree"
    if track is not None:
        row = widened(table).to_pylist()[0]
        assert (row["video_id"], row["track_id"], row["clip_name"]) == (
            track.video_id, track.track_id, track.clip_name,
        )  # fmt: skip
        assert row["frame_ts"] == track.frame_ts.tolist()
        assert row["h"] == track.frame_bboxes[:, 3].tolist()
        assert tuple(row["label_names"]) == track.label_names
        assert tuple(row["label_ids"]) == track.label_ids


def _keeps_promises(track: Track, layout: Layout) -> None:
    count = len(track.frame_ts)
    assert count >= 1
    assert track.frame_ts.shape == (count,)
    assert track.frame_bboxes.shape == (count, 4)
    assert np.isfinite(track.frame_ts).all()
    assert np.isfinite(track.frame_bboxes).all()
    assert (track.frame_bboxes[:, 2:] > 0).all()
    assert track.track_id.isprintable()
    path = layout.clip(track.clip_name)
    assert path.resolve().is_relative_to(layout.tracks.resolve()), "a clip stays inside"
    assert layout.video_target(track.video_id).parent.parent == layout.videos
