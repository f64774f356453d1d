"""Encoders other than the usual one: the same frames, times and places to seek to."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import av
import pytest

from tests.videos import textured
from trackverse_cli.encode import ClipOrigin, ClipWriter
from trackverse_cli.encoders import problem_of_encoder
from trackverse_cli.errors import ItemError
from trackverse_cli.interfaces import Colour, VideoInfo
from trackverse_cli.settings import EncodeSettings

if TYPE_CHECKING:
    from pathlib import Path

FRAMES, UNITS = 50, 512
INFO = VideoInfo(640, 360, Fraction(30), Fraction(1, 30 * UNITS), 60.0, "h264", Colour())


@pytest.mark.parametrize(
    ("codec", "preset"),
    [("libx264", "veryfast"), ("libx265", "ultrafast"), ("libsvtav1", "12")],
)
def test_every_encoder_keeps_times_and_has_key_frames_where_they_are_asked_for(
    tmp_path: Path, codec: str, preset: str
) -> None:
    settings = EncodeSettings(codec=codec, preset=preset, crf=30)
    assert problem_of_encoder(settings) is None
    path = tmp_path / "clip.mp4"
    writer = ClipWriter(path, (160, 90), INFO, ClipOrigin("t", "v", (640, 360), "r"), settings)
    for number in range(FRAMES):
        frame = av.VideoFrame.from_ndarray(textured(number, 160, 90), "rgb24")
        writer.add(frame.reformat(format="yuv420p"), 7 * UNITS + number * UNITS, 0)
    writer.finish()
    with av.open(str(path)) as container:
        base = container.streams.video[0].time_base or Fraction(1)
        packets = [packet for packet in container.demux(video=0) if packet.pts is not None]
        keys = [round(p.pts * base * 30) for p in packets if p.is_keyframe and p.pts is not None]
        container.seek(0)
        times = [frame.pts * base for frame in container.decode(video=0) if frame.pts is not None]
    assert times == [Fraction(number, 30) for number in range(FRAMES)]
    assert keys == [0, 15, 30, 45]
    with av.open(str(path)) as container:
        container.seek(round(Fraction(31, 30) / base), stream=container.streams.video[0])
        assert next(container.decode(video=0)).pts == round(1 / base)


@pytest.mark.parametrize(
    ("preset", "motion"), [("veryfast", "me=dia"), ("medium", "me=hex"), ("superfast", "me=dia")]
)
def test_only_the_usual_preset_is_made_leaner(tmp_path: Path, preset: str, motion: str) -> None:
    path = tmp_path / "clip.mp4"
    settings = EncodeSettings(preset=preset)
    writer = ClipWriter(path, (160, 90), INFO, ClipOrigin("t", "v", (640, 360), "r"), settings)
    frame = av.VideoFrame.from_ndarray(textured(0, 160, 90), "rgb24")
    writer.add(frame.reformat(format="yuv420p"), 0, 0)
    writer.finish()
    said = path.read_bytes().decode("latin-1").partition("options: ")[2].split()
    assert {motion, "bframes=0", "threads=1"} <= set(said)
    # 0x3: of inter macroblocks only undivided ones are tried; intra ones in all sizes.
    divided = {"veryfast": "3:0x3", "superfast": "3:0x3", "medium": "3:0x113"}[preset]
    assert f"analyse=0x{divided}" in said


@pytest.mark.parametrize(
    ("codec", "preset"), [("libsvtav1", "veryfast"), ("nonsense", "veryfast"), ("libx264", "best")]
)
def test_an_encoder_that_does_not_open_is_told_before_the_work(codec: str, preset: str) -> None:
    assert problem_of_encoder(EncodeSettings(codec=codec, preset=preset))


class _Refusing:
    """A stream whose encoder did not open, as it is under PyAV 19."""

    time_base = None

    def __init__(self) -> None:
        self.refused = False

    def encode(self, frame: av.VideoFrame | None) -> list[av.Packet]:
        self.refused = True
        raise av.error.PermissionError(1, "Operation not permitted")

    @property
    def codec_context(self) -> None:
        raise AssertionError("PyAV 19 ends the process where it is asked for its name")


def test_an_encoder_that_did_not_open_is_not_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No other exception would come: the whole process would be gone."""
    stream = _Refusing()
    monkeypatch.setattr(ClipWriter, "_open", lambda *_: stream)
    settings = EncodeSettings()
    origin = ClipOrigin("t", "v", (640, 360), "r")
    writer = ClipWriter(tmp_path / "clip.mp4", (160, 90), INFO, origin, settings)
    with pytest.raises(ItemError, match="160x90 with libx264: Operation not permitted") as caught:
        writer.add(av.VideoFrame(160, 90, "yuv420p"), 0, 0)
    writer.abort()
    assert stream.refused
    assert caught.value.reason == "encoder-failed"
