"""What decoder plugins build on: which frames are sound, how a video is shown, what is a hole."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest

from tests.videos import make_video, textured
from trackverse_cli.decoding import Display, Reader
from trackverse_cli.decoding.pictures import HOLE_BYTES, has_hole
from trackverse_cli.decoding.sieve import MOST_HELD, Sieve
from trackverse_cli.interfaces import Damage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Settled = list[tuple[int, Any]]


def pass_through(
    packets: Sequence[tuple[int, bool]],
    refused: Sequence[int] = (),
    corrupt: Sequence[int] = (),
    delay: int = 3,
) -> Settled:
    """Send (pts, is key frame) in decoding order through a decoder that holds `delay` pictures.

    Pictures that are refused never come; those that are corrupt come and say so.
    """
    sieve: Sieve[str] = Sieve()
    inside: list[int] = []
    found: Settled = []

    def bring() -> None:
        pts = min(inside)
        inside.remove(pts)
        found.extend(sieve.came(pts, f"frame {pts}", is_corrupt=pts in corrupt))

    for pts, is_key in packets:
        sieve.sent(pts, is_key=is_key)
        if pts in refused:
            sieve.failed()
        else:
            inside.append(pts)
        if len(inside) > delay:
            bring()
    while inside:
        bring()
    found.extend(sieve.end())
    return found


# Two GOPs of an open kind: the pictures 6 and 7 are shown before the key frame 8, sent after it.
OPEN = [(n, n in (0, 8)) for n in (0, 4, 1, 2, 3, 5, 8, 6, 7, 12, 9, 10, 11)]


def good(settled: Settled) -> list[int]:
    assert [pts for pts, _ in settled] == sorted(pts for pts, _ in settled)
    return [pts for pts, frame in settled if frame == f"frame {pts}"]


def lost(settled: Settled) -> list[int]:
    return [pts for pts, frame in settled if frame is None]


@pytest.mark.parametrize("delay", [0, 1, 3, 20])
def test_sound_pictures_all_come_in_order(delay: int) -> None:
    packets = OPEN if delay else sorted(OPEN)
    assert good(pass_through(packets, delay=delay)) == list(range(13))


@pytest.mark.parametrize("how", ["refused", "corrupt"])
@pytest.mark.parametrize(
    ("hit", "expected"),
    [
        (4, [1, 2, 3, 4, 5, 6, 7]),  # what was sent after it, and what leads the next key frame
        (2, [2, 3, 5, 6, 7]),
        (8, [6, 7, 8, 9, 10, 11, 12]),
        (6, [6, 7]),
        (12, [9, 10, 11, 12]),
        (0, [0, 1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_damage_lasts_until_the_next_key_frame(how: str, hit: int, expected: list[int]) -> None:
    settled = pass_through(OPEN, **{how: [hit]})
    assert good(settled) == [pts for pts in range(13) if pts not in lost(settled)]
    assert lost(settled) == expected


def test_pictures_that_are_never_shown_are_no_loss() -> None:
    sieve: Sieve[str] = Sieve()
    found: Settled = []
    for pts in range(6):
        sieve.sent(pts, is_key=pts == 0, is_shown=pts != 4)
        if pts not in (2, 4):
            found.extend(sieve.came(pts, f"frame {pts}", is_corrupt=False))
    assert good(found + list(sieve.end())) == [0, 1, 3, 5]
    assert lost(found) == []


def test_odd_timestamps_hold_no_more_than_a_few_frames() -> None:
    sieve: Sieve[int] = Sieve()
    sieve.sent(10**9, is_key=True)  # its picture never comes
    came = 0
    for pts in range(3 * MOST_HELD):
        sieve.sent(pts, is_key=False)
        came += len(list(sieve.came(pts, pts, is_corrupt=False)))
    assert came == 2 * MOST_HELD


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\0" * 5, True),
        (b"abc" + bytes(HOLE_BYTES) + b"def", True),
        (b"abc" + bytes(HOLE_BYTES - 1) + b"def", False),
        (b"abc", False),
    ],
)
def test_zeros_in_a_row_are_a_hole(content: bytes, expected: bool) -> None:
    assert has_hole(content) is expected


GOOD: dict[str, dict[str, Any]] = {
    "h264": {"options": {"preset": "medium", "x264-params": "open-gop=1:log-level=none"}},
    "interlaced": {"options": {"x264-params": "interlaced=1:log-level=none"}},
    "intra refresh": {"options": {"x264-params": "intra-refresh=1:log-level=none"}},
    "hevc": {"codec": "libx265", "options": {"x265-params": "log-level=none"}},
    "vp9": {"codec": "libvpx-vp9", "options": {"crf": "20", "cpu-used": "8", "auto-alt-ref": "1"}},
    "vp8": {
        "codec": "libvpx",
        "container_format": "matroska",
        "options": {"cpu-used": "8", "auto-alt-ref": "1"},
    },
    "av1": {"codec": "libsvtav1", "options": {"preset": "12"}},
    "mpeg4": {"codec": "mpeg4", "options": {"q": "4", "bf": "2"}},
    "transport stream": {"container_format": "mpegts", "options": {"preset": "medium"}},
    "black": {
        "codec": "libvpx-vp9",
        "size": (1280, 720),
        "draw": lambda _, w, h: np.zeros((h, w, 3), np.uint8),
    },
}


@pytest.mark.parametrize("kind", GOOD)
def test_good_videos_raise_no_alarm(tmp_path: Path, kind: str) -> None:
    how = {"draw": textured, "frames": 60, "gop": 20} | GOOD[kind]
    path = make_video(tmp_path / "v.mp4", **how)
    with av.open(str(path)) as container:
        expected = [frame.pts for frame in container.decode(video=0)]
    for spans in ([(0.0, 99.0)], [(3.1, 3.3), (1.5, 1.7)]):
        reader = Reader(path, 2)
        found = list(reader.frames(spans))
        reader.close()
        assert not [one for one in found if isinstance(one, Damage)]
        got = [one.pts for one in found if not isinstance(one, Damage)]
        assert got == [pts for pts in expected if pts in got]
        base = reader.info.time_base
        assert {p for p in expected if any(a <= (p or 0) * base <= b for a, b in spans)} <= {*got}


SKIPPED = {
    "open GOPs": "open-gop=1",
    "interlaced": "interlaced=1",
    "intra refresh": "intra-refresh=1",
    "pyramid": "bframes=8:b-pyramid=normal",
    "no pyramid": "b-pyramid=none",
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", SKIPPED)
def test_needless_pictures_are_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, threads: int
) -> None:
    options = {"x264-params": f"bframes=3:b-adapt=0:{SKIPPED[kind]}:log-level=none"}
    path = make_video(tmp_path / "v.mp4", draw=textured, frames=90, gop=30, options=options)
    with av.open(str(path)) as container:
        whole = {frame.pts: frame.to_ndarray() for frame in container.decode(video=0)}
    decoded: list[int] = []
    as_it_is = Reader._decoded

    def counted(reader: Reader, packet: Any) -> Sequence[av.VideoFrame]:
        frames = as_it_is(reader, packet)
        decoded.extend(frame.pts or 0 for frame in frames)
        return frames

    monkeypatch.setattr(Reader, "_decoded", counted)
    base = Reader(path, threads).info.time_base
    start = float(min(whole) * base)
    spans = [(start + 0.9, start + 0.95), (start + 2.3, start + 2.5), (start + 3.1, start + 3.2)]
    decoded.clear()
    found = list(Reader(path, threads).frames(spans))
    got = {one.pts: one.to_ndarray() for one in found if not isinstance(one, Damage)}
    assert len(got) == len(found)
    assert {p for p in whole if any(a <= p * base <= b for a, b in spans)} <= set(got)
    for pts, picture in got.items():
        assert np.array_equal(picture, whole[pts])
    with_skips = len(decoded)
    decoded.clear()
    monkeypatch.setattr("trackverse_cli.decoding.reader.SKIPPING", ())
    assert len(list(Reader(path, threads).frames(spans))) == len(found)
    assert with_skips < 0.8 * len(decoded)


@pytest.mark.parametrize(
    ("rotation", "size", "corner"),
    [
        (0, (40, 20), (0, 0)),
        (90, (20, 40), (40, 0)),
        (180, (40, 20), (40, 20)),
        (270, (20, 40), (0, 20)),
    ],
)
def test_displayed_positions_lie_in_the_coded_picture(
    rotation: int, size: tuple[int, int], corner: tuple[int, int]
) -> None:
    display = Display((40, 20), rotation, Fraction(1))
    assert display.size == size
    assert tuple(display.to_coded() @ [0, 0, 1]) == (*corner, 1)
    wide = Display((40, 20), 0, Fraction(3, 2))
    assert wide.size == (60, 20)
    assert tuple(wide.to_coded() @ [30, 10, 1]) == (20, 10, 1)
