"""Clips against their sources: every frame, its time, its picture; the referee is PyAV."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

import av
import numpy as np
import pytest

from tests.referee import cropped, frames_in_span, frames_of, psnr, rgb, times_of
from tests.videos import disc_centre, make_video, textured
from trackverse_cli import one_pass, plugins
from trackverse_cli.boxes import plan_crop
from trackverse_cli.clips import CutSettings
from trackverse_cli.encode import ClipWriter
from trackverse_cli.errors import ItemError
from trackverse_cli.extract import CutOutcome, Cutter, PartlyCutError
from trackverse_cli.layout import Layout
from trackverse_cli.metadata import Track
from trackverse_cli.recipe import recipe_id
from trackverse_cli.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from trackverse_cli.interfaces import DecoderPlugin
    from trackverse_cli.outputs import ClipSink

VIDEO = "abcdefghijk"


def disc_track(
    name: str,
    first: float,
    last: float,
    size: tuple[int, int],
    *,
    video_size: tuple[int, int] | None = None,
    share: float = 0.5,
) -> Track:
    """A track that follows the disc of `tests.videos.scene`."""
    times = np.arange(first, last + 1e-9, 1 / 16)
    width, height = size
    side = share * height
    boxes = []
    for at in times.tolist():
        x, y = disc_centre(at)
        boxes.append([x * width - side / 2, y * height - side / 2, side, side])
    return Track(name, VIDEO, f"d/{name}.mp4", times, np.array(boxes), video_size, (), ())


class Bench:
    """A cutter on a temporary root."""

    def __init__(self, root: Path, **settings: Any) -> None:
        self.layout = Layout(root / "root")
        self.layout.tracks.mkdir(parents=True)
        self.settings = Settings.model_validate(settings)
        self.stop = threading.Event()

    def cut(
        self,
        path: Path,
        *tracks: Track,
        source_size: tuple[int, int] | None = None,
        workers: int = 2,
        decoder: DecoderPlugin | None = None,
        sink: ClipSink | None = None,
    ) -> CutOutcome:
        decoder = decoder or plugins.choose_decoder("pyav")
        cut_settings = CutSettings(
            decoder,
            decoder.settings(),
            self.settings.encode,
            self.settings.extract.max_clip_seconds,
            recipe_id(self.settings),
        )
        with Cutter(self.layout, cut_settings, workers, self.stop, sink) as cutter:
            return cutter.cut(path, tracks, lambda _: True, source_size)

    def clip(self, track: Track) -> Path:
        return self.layout.tracks / track.clip_name


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def assert_shows_its_track(
    clip: Path, source: Path, track: Track, size: tuple[int, int], least_db: float = 30
) -> None:
    """Frame count, times and pictures of a clip equal those of an independent cut."""
    expected = frames_in_span(source, float(track.frame_ts.min()), float(track.frame_ts.max()))
    got = frames_of(clip)
    assert len(got) == len(expected)
    origin = Fraction(expected[0].pts or 0) * Fraction(expected[0].time_base or 1)
    wanted = [Fraction(f.pts or 0) * Fraction(f.time_base or 1) - origin for f in expected]
    assert times_of(clip) == wanted
    plan = plan_crop(track.frame_ts, track.frame_bboxes, (size[1], size[0]))
    for place in (0, len(got) // 2, len(got) - 1):
        box = plan.boxes_at([float(wanted[place] + origin)])[0]
        reference = cropped(expected[place], tuple(box), plan.clip_size)
        assert psnr(rgb(got[place]), reference) >= least_db, place


@pytest.mark.parametrize(
    ("rate", "reported"),
    [
        (Fraction(25), 25),
        (Fraction(30000, 1001), Fraction(30000, 1001)),
        (Fraction(24000, 1001), Fraction(24000, 1001)),
        (Fraction(60), 60),
        (Fraction(12), 12),
    ],
)
def test_every_frame_at_the_rate_of_the_source(
    bench: Bench, tmp_path: Path, rate: Fraction, reported: Fraction
) -> None:
    source = make_video(tmp_path / "v.mp4", rate=rate, frames=int(5 * rate))
    tracks = [disc_track("a", 0.0, 3.0, (320, 180)), disc_track("b", 1.3, 4.8, (320, 180))]
    outcome = bench.cut(source, *tracks)
    assert outcome.failed == ()
    for track, done in zip(tracks, outcome.done, strict=True):
        assert_shows_its_track(bench.clip(track), source, track, (320, 180))
        with av.open(str(bench.clip(track))) as clip:
            stream = clip.streams.video[0]
            assert stream.average_rate == reported
            assert stream.frames == done.frames
            assert not clip.streams.audio
            assert stream.codec_context.profile == "High"
            assert stream.codec_context.pix_fmt == "yuv420p"


def test_a_variable_rate_keeps_its_times(bench: Bench, tmp_path: Path) -> None:
    steps = [1, 1, 3, 1, 2, 5, 1, 1, 1, 4] * 12
    times = [Fraction(int(sum(steps[:k])), 60) for k in range(len(steps))]
    source = make_video(tmp_path / "v.mp4", times=times, rate=30, time_base=Fraction(1, 60), gop=30)
    track = disc_track("a", 0.4, 3.2, (320, 180))
    assert bench.cut(source, track).failed == ()
    assert_shows_its_track(bench.clip(track), source, track, (320, 180))


def test_ties_are_inside_and_neighbours_outside(bench: Bench, tmp_path: Path) -> None:
    source = make_video(tmp_path / "v.mp4", rate=25, frames=100)
    tie = disc_track("tie", 0.0, 0.0, (320, 180))
    for name, first, last, frames in [
        ("tie", 0.5, 1.5, 27),  # 0.48 and 1.52 lie exactly half a frame outside
        ("in", 0.481, 1.519, 26),  # 0.461 .. 1.539 holds 0.48 .. 1.52 but for rounding
        ("one", 1.0, 1.0, 1),
    ]:
        ts = np.array([first, last]) if first != last else np.array([first])
        boxes = np.repeat(tie.frame_bboxes[:1], len(ts), axis=0)
        track = Track(name, VIDEO, f"{name}.mp4", ts, boxes, None, (), ())
        (done,) = bench.cut(source, track).done
        expected = frames_in_span(source, first, last)
        assert done.frames == len(expected)
        if name != "in":
            assert done.frames == frames


def test_a_long_track_ends_at_the_limit(tmp_path: Path) -> None:
    bench = Bench(tmp_path, extract={"max_clip_seconds": 2.0})
    source = make_video(tmp_path / "v.mp4", rate=25, frames=125)
    track = disc_track("a", 1.0, 4.5, (320, 180))
    (done,) = bench.cut(source, track).done
    assert done.frames == len(frames_in_span(source, 1.0, 4.5, max_seconds=2.0)) == 50 + 0


def test_key_frames_stand_half_a_second_apart(bench: Bench, tmp_path: Path) -> None:
    source = make_video(tmp_path / "v.mp4", rate=Fraction(30000, 1001), frames=150)
    track = disc_track("a", 0.0, 4.9, (320, 180))
    bench.cut(source, track)
    frames = frames_of(bench.clip(track))
    assert [k for k, f in enumerate(frames) if f.key_frame] == list(range(0, len(frames), 15))


@pytest.mark.parametrize(
    ("how", "shown"),
    [
        ({"rotation": 90}, (180, 320)),
        ({"rotation": -90}, (180, 320)),
        ({"rotation": 180}, (320, 180)),
        ({"pixel_aspect": Fraction(4, 3)}, (427, 180)),
        ({"pixel_aspect": Fraction(3, 4)}, (240, 180)),
        ({"size": (321, 181), "pix_fmt": "yuv444p"}, (321, 181)),
        ({"pix_fmt": "yuv420p10le"}, (320, 180)),
        ({"pix_fmt": "yuv422p"}, (320, 180)),
        ({"codec": "libx264rgb", "pix_fmt": "rgb24", "options": {"crf": "8"}}, (320, 180)),
        ({"codec": "mpeg4", "options": {"q": "2"}}, (320, 180)),
        ({"codec": "libvpx-vp9", "options": {"crf": "20", "cpu-used": "8"}}, (320, 180)),
    ],
    ids=str,
)
def test_clips_show_what_a_viewer_of_the_source_sees(
    bench: Bench, tmp_path: Path, how: dict[str, Any], shown: tuple[int, int]
) -> None:
    source = make_video(tmp_path / "v.mp4", **({"frames": 60} | how))
    still = np.array([[0.1 * shown[0], 0.1 * shown[1], 0.8 * shown[0], 0.8 * shown[1]]])
    track = Track("a", VIDEO, "a.mp4", np.array([0.2, 2.0]), still.repeat(2, 0), None, (), ())
    assert bench.cut(source, track).failed == ()
    picture = rgb(frames_of(bench.clip(track))[5])
    # The viewer's picture: FFmpeg's own turning and stretching of the frame.
    frame = frames_in_span(source, 0.2, 2.0)[5]
    seen = np.rot90(rgb(frame), how.get("rotation", 0) // 90)
    seen_frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(seen), "rgb24")
    # Clips have 4:2:0 colours whatever the source has, so the reference gets them as well.
    seen_frame = seen_frame.reformat(width=shown[0], height=shown[1], format="yuv420p")
    plan = plan_crop(track.frame_ts, track.frame_bboxes, (shown[1], shown[0]))
    reference = cropped(seen_frame, tuple(plan.boxes_at([0.4])[0]), plan.clip_size)
    assert psnr(picture, reference) >= 30


def test_colour_tags_and_full_range_are_kept(bench: Bench, tmp_path: Path) -> None:
    tags = {"x264-params": "colorprim=bt709:transfer=bt709:colormatrix=bt709:fullrange=on"}
    source = make_video(
        tmp_path / "v.mp4", frames=50, pix_fmt="yuvj420p", options={"crf": "12"} | tags
    )
    track = disc_track("a", 0.2, 1.5, (320, 180))
    bench.cut(source, track)
    with av.open(str(bench.clip(track))) as clip:
        context = clip.streams.video[0].codec_context
        assert (context.color_primaries, context.color_trc, context.colorspace) == (1, 1, 1)
        assert context.color_range == 2


def test_a_480p_copy_gives_the_same_picture_scaled(bench: Bench, tmp_path: Path) -> None:
    large = make_video(tmp_path / "l.mp4", size=(1280, 720), frames=60)
    small = make_video(tmp_path / "s.mp4", size=(854, 480), frames=60)
    track = disc_track("a", 0.2, 2.0, (1280, 720), share=0.6)
    bench.cut(large, track)
    of_large = frames_of(bench.clip(track))
    bench.cut(small, track, source_size=(1920, 1080))
    of_small = frames_of(bench.clip(track))
    assert len(of_large) == len(of_small)
    assert abs(of_small[0].width - of_large[0].width * 854 / 1280) < 2
    for one, other in zip(of_large[::20], of_small[::20], strict=True):
        scaled = one.reformat(width=other.width, height=other.height)
        assert psnr(rgb(scaled), rgb(other)) >= 30


def test_a_hundred_tracks_at_once(bench: Bench, tmp_path: Path) -> None:
    source = make_video(tmp_path / "v.mp4", frames=40)
    tracks = [disc_track(f"t{k}", 0.1, 1.2, (320, 180), share=0.3 + k / 400) for k in range(100)]
    outcome = bench.cut(source, *tracks)
    assert outcome.failed == ()
    first, last = float(tracks[0].frame_ts[0]), float(tracks[0].frame_ts[-1])
    assert {done.frames for done in outcome.done} == {len(frames_in_span(source, first, last))}


def test_a_finished_clip_lets_go_of_its_encoder(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[weakref.ref[ClipWriter]] = []
    alive: list[int] = []

    class Watched(ClipWriter):
        def __init__(self, *words: Any, **named: Any) -> None:
            alive.append(sum(writer() is not None for writer in made))
            made.append(weakref.ref(self))
            super().__init__(*words, **named)

    monkeypatch.setattr("trackverse_cli.clips.ClipWriter", Watched)
    source = make_video(tmp_path / "v.mp4", frames=100)
    tracks = [disc_track(f"t{k}", k * 0.7, k * 0.7 + 0.3, (320, 180)) for k in range(5)]
    assert len(bench.cut(source, *tracks, workers=1).done) == 5
    assert alive == [0] * 5


def test_a_track_after_the_end_is_beyond_it(bench: Bench, tmp_path: Path) -> None:
    source = make_video(tmp_path / "v.mp4", frames=50)
    good, late, half = (
        disc_track("good", 0.2, 1.5, (320, 180)),
        disc_track("late", 7.0, 9.0, (320, 180)),
        disc_track("half", 1.0, 3.5, (320, 180)),
    )
    outcome = bench.cut(source, good, late, half)
    assert [done.track_id for done in outcome.done] == ["good"]
    failed = {track: (reason, message) for track, reason, message in outcome.failed}
    assert failed["late"][0] == failed["half"][0] == "beyond-end"
    assert "9.000" in failed["late"][1]
    assert "2.000" in failed["late"][1]
    assert not bench.clip(half).exists()


def test_the_last_box_may_lie_a_sample_after_the_last_frame(bench: Bench, tmp_path: Path) -> None:
    source = make_video(tmp_path / "v.mp4", frames=50)
    track = disc_track("a", 1.0, 2.0, (320, 180))
    (done,) = bench.cut(source, track).done
    assert done.frames == len(frames_in_span(source, 1.0, 2.0)) == 25


def test_a_broken_middle_costs_only_the_clips_that_need_it(bench: Bench, tmp_path: Path) -> None:
    source = make_video(tmp_path / "v.mp4", frames=200, gop=25)
    content = source.read_bytes()
    with av.open(str(source)) as container:
        stream = container.streams.video[0]
        packets = [
            (p.pos, p.size, float((p.pts or 0) * p.time_base))
            for p in container.demux(stream)
            if p.size
        ]
    damaged = bytearray(content)
    for pos, size, at in packets:
        if 3.9 <= at <= 4.4 and pos is not None:
            damaged[pos : pos + size] = bytes(size)
    intact = source.rename(tmp_path / "intact.mp4")
    source.write_bytes(damaged)
    early, across, within, until, late = (
        disc_track("early", 0.5, 2.0, (320, 180)),
        disc_track("across", 3.5, 5.5, (320, 180)),
        disc_track("within", 4.1, 4.2, (320, 180)),
        disc_track("until", 3.0, 3.75, (320, 180)),  # the last sound picture is at 3.8
        disc_track("late", 5.02, 7.0, (320, 180)),  # the next key frame is at 5
    )
    outcome = bench.cut(source, early, across, within, until, late)
    assert {done.track_id for done in outcome.done} == {"early", "until", "late"}
    failed = {track: (reason, message) for track, reason, message in outcome.failed}
    assert set(failed) == {"across", "within"}
    for reason, message in failed.values():
        assert reason == "video-damaged"
        assert message.endswith("v.mp4: its pictures from 3.840 s to 4.960 s are damaged")
    for track in (early, until, late):
        assert_shows_its_track(bench.clip(track), intact, track, (320, 180))


@pytest.mark.parametrize(
    "how",
    [
        {"codec": "libvpx-vp9", "options": {"crf": "20", "cpu-used": "8"}},
        {"codec": "libsvtav1", "options": {"crf": "30", "preset": "12"}},
        {"codec": "libx265", "options": {"crf": "20", "x265-params": "log-level=none"}},
    ],
    ids=lambda how: how["codec"],
)
def test_a_hole_in_a_key_frame_costs_its_clips_whatever_the_codec(
    bench: Bench, tmp_path: Path, how: dict[str, Any]
) -> None:
    source = make_video(tmp_path / "v.mp4", frames=120, gop=40, draw=textured, **how)
    with av.open(str(source)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
    hit = next(p for p in packets if p.is_keyframe and float((p.pts or 0) * p.time_base) > 1.0)
    place = (hit.pos or 0) + hit.size // 3
    content = source.read_bytes()
    source.write_bytes(content[:place] + bytes(512) + content[place + 512 :])
    assert hit.size > 1600
    tracks = [
        disc_track("before", 0.2, 1.3, (320, 180)),
        disc_track("at", 2.0, 2.6, (320, 180)),
        disc_track("after", 3.3, 4.5, (320, 180)),
    ]
    outcome = bench.cut(source, *tracks)
    assert [done.track_id for done in outcome.done] == ["before", "after"]
    assert [(track, reason) for track, reason, _ in outcome.failed] == [("at", "video-damaged")]


class _Borrowed:
    """The decoder `pyav` with an encoder of its own, and a note."""

    def __init__(self, decoder: Any, encoder: str, pix_fmt: str) -> None:
        self.info, self.hw_encoder, self.note = decoder.info, encoder, "the card is away"
        self._decoder, self._pix_fmt = decoder, pix_fmt

    def frames(self, spans: Any) -> Any:
        for frame in self._decoder.frames(spans):
            yield _BorrowedFrame(frame, self._pix_fmt)


class _BorrowedFrame:
    def __init__(self, frame: Any, pix_fmt: str) -> None:
        self.pts, self.time_base = frame.pts, frame.time_base
        self._frame, self._pix_fmt = frame, pix_fmt

    def crop(self, boxes: Any, sizes: Any) -> Any:
        return [c.reformat(format=self._pix_fmt) for c in self._frame.crop(boxes, sizes)]


@pytest.mark.parametrize(
    ("encoder", "pix_fmt", "codec", "note"),
    [
        ("h264_nvenc", "nv12", "h264", "h264_nvenc does not open, so libx264 encodes"),
        ("no_such_encoder", "nv12", "h264", "no_such_encoder does not open, so libx264 encodes"),
        ("libx264", "rgb24", "h264", "libx264 does not open, so libx264 encodes"),
        ("libx264", "nv12", "h264", ""),
        ("libx265", "yuv420p", "hevc", ""),
    ],
)
def test_a_decoder_brings_an_encoder_that_may_not_open(
    bench: Bench, tmp_path: Path, encoder: str, pix_fmt: str, codec: str, note: str
) -> None:
    source = make_video(tmp_path / "v.mp4", frames=60)
    plugin = plugins.choose_decoder("pyav")
    borrowed = replace(plugin, open=lambda *a: _Borrowed(plugin.open(*a), encoder, pix_fmt))
    track = disc_track("a", 0.2, 1.9, (320, 180))
    outcome = bench.cut(source, track, decoder=borrowed)
    assert outcome.failed == ()
    assert outcome.note == "; ".join(filter(None, ["the card is away", note]))
    with av.open(str(bench.clip(track))) as clip:
        assert clip.streams.video[0].codec_context.codec.canonical_name == codec
    assert_shows_its_track(bench.clip(track), source, track, (320, 180), 28)


class _Failing(_Borrowed):
    """The decoder `pyav`, whose crops for the second clip of a frame fail."""

    def frames(self, spans: Any) -> Any:
        for frame in self._decoder.frames(spans):
            yield _FailingFrame(frame, self._pix_fmt)


class _FailingFrame(_BorrowedFrame):
    taken_by: ClassVar[set[int]] = set()

    def crop(self, boxes: Any, sizes: Any) -> Any:
        return _FailingCrops(self._frame.crop(boxes, sizes))


class _FailingCrops(Sequence[Any]):
    def __init__(self, crops: Any) -> None:
        self._crops = crops

    def __len__(self) -> int:
        return len(self._crops)

    def __getitem__(self, place: Any) -> Any:
        _FailingFrame.taken_by.add(threading.get_ident())
        if place == 1:
            raise ItemError("video-damaged", "no such crop")
        return self._crops[place]


@pytest.mark.parametrize(("held", "here"), [(1, True), (1 << 40, False)])
def test_a_crop_that_fails_costs_its_clip_alone(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: int, here: bool
) -> None:
    """Whether the decoding thread takes the crops, since the encoders have enough, or they do."""
    monkeypatch.setattr(one_pass, "BYTES_HELD", held)
    monkeypatch.setattr(one_pass, "FRAMES_HELD", 1)
    _FailingFrame.taken_by.clear()
    source = make_video(tmp_path / "v.mp4", frames=60)
    plugin = plugins.choose_decoder("pyav")
    failing = replace(plugin, open=lambda *a: _Failing(plugin.open(*a), "libx264", "yuv420p"))
    good, bad = disc_track("a", 0.2, 1.9, (320, 180)), disc_track("b", 0.2, 1.9, (320, 180))
    outcome = bench.cut(source, good, bad, decoder=failing)
    assert [done.track_id for done in outcome.done] == ["a"]
    assert outcome.failed == (("b", "video-damaged", "no such crop"),)
    assert_shows_its_track(bench.clip(good), source, good, (320, 180))
    assert (threading.get_ident() in _FailingFrame.taken_by) == here


@pytest.mark.parametrize(
    ("name", "base", "muxer_options"),
    [
        ("v.mkv", Fraction(1, 1000), {}),
        ("v.mp4", Fraction(1, 600), {"video_track_timescale": "600"}),
        ("v.avi", Fraction(1, 25), {}),
    ],
)
def test_a_source_with_a_coarse_time_base_keeps_its_times(
    bench: Bench, tmp_path: Path, name: str, base: Fraction, muxer_options: dict[str, str]
) -> None:
    """The muxer of clips takes a finer base than that, once it has written its header."""
    options = {"crf": "12", "bf": "0"}  # AVI keeps no order of its own
    source = make_video(tmp_path / name, options=options, muxer_options=muxer_options)
    with av.open(str(source)) as container:
        assert container.streams.video[0].time_base == base
    track = disc_track("a", 0.5, 3.0, (320, 180))
    outcome = bench.cut(source, track)
    assert outcome.failed == ()
    assert_shows_its_track(bench.clip(track), source, track, (320, 180))


def test_a_truncated_video_is_damaged_and_not_short(bench: Bench, tmp_path: Path) -> None:
    source = make_video(
        tmp_path / "v.mp4", frames=200, gop=25, muxer_options={"movflags": "+faststart"}
    )
    content = source.read_bytes()
    source.write_bytes(content[: len(content) // 2])
    outcome = bench.cut(
        source, disc_track("a", 0.5, 2.0, (320, 180)), disc_track("b", 5, 7, (320, 180))
    )
    assert [done.track_id for done in outcome.done] == ["a"]
    assert [reason for _, reason, _ in outcome.failed] == ["video-damaged"]
    assert "frames end before 4.980 s, though it says 8.000 s" in outcome.failed[0][2]


def test_a_text_file_is_no_video(bench: Bench, tmp_path: Path) -> None:
    source = tmp_path / "v.mp4"
    source.write_text("<html>not found</html>")
    outcome = bench.cut(source, disc_track("a", 0.5, 2.0, (320, 180)))
    assert [reason for _, reason, _ in outcome.failed] == ["video-damaged"]
    assert str(source) in outcome.failed[0][2]


def test_a_stop_discards_what_is_unfinished(bench: Bench, tmp_path: Path) -> None:
    source = make_video(tmp_path / "v.mp4", frames=100)
    bench.stop.set()
    with pytest.raises(PartlyCutError):
        bench.cut(source, disc_track("a", 0.5, 2.0, (320, 180)))
    assert list(bench.layout.tracks.rglob("*.*")) == []


def test_a_clip_name_that_is_a_folder_is_refused(bench: Bench, tmp_path: Path) -> None:
    source = make_video(tmp_path / "v.mp4", frames=50)
    track = disc_track("a", 0.2, 1.0, (320, 180))
    bench.clip(track).mkdir(parents=True)
    outcome = bench.cut(source, track, disc_track("b", 0.2, 1.0, (320, 180)))
    assert [done.track_id for done in outcome.done] == ["b"]
    assert outcome.failed[0][1] == "refused-name"
    assert sorted(path.name for path in bench.layout.tracks.rglob("*.mp4")) == ["a.mp4", "b.mp4"]


def test_only_needed_stretches_are_read(tmp_path: Path) -> None:
    source = make_video(tmp_path / "v.mp4", frames=1000, size=(160, 90), gop=25)
    decoder = plugins.choose_decoder("pyav")
    opened = decoder.open(source, decoder.settings())
    seeks: list[int] = []
    reader = opened._reader  # type: ignore[attr-defined]  # what of it seeks
    seek = reader._seek
    reader._seek = lambda pts: (seeks.append(pts), seek(pts))
    spans = [(2.0, 3.0), (2.5, 3.2), (30.0, 31.0)]
    times = [float(frame.pts * frame.time_base) for frame in opened.frames(spans)]
    opened.close()
    assert times == pytest.approx([k / 25 for k in (*range(50, 82), *range(750, 777))])
    assert len(seeks) == 2


def test_crops_follow_a_box_by_parts_of_a_pixel(tmp_path: Path) -> None:
    period = 32

    def wave(_at: float, width: int, height: int) -> np.ndarray:
        across = 128 + 100 * np.sin(2 * np.pi * np.arange(width) / period)[None, :, None]
        return np.broadcast_to(across, (height, width, 3)).astype(np.uint8)

    def phase(picture: np.ndarray) -> float:
        row = picture.astype(float).mean(axis=0)
        turned = row @ np.exp(-2j * np.pi * np.arange(row.size) / period)
        return float(np.angle(turned) * period / (2 * np.pi))

    source = make_video(
        tmp_path / "v.mp4", frames=3, size=(256, 120), options={"qp": "1"}, draw=wave
    )
    decoder = plugins.choose_decoder("pyav")
    opened = decoder.open(source, decoder.settings())
    frame = next(iter(opened.frames([(0, 1)])))
    shifts = (0.0, 0.25, 0.5, 1.0, 1.75, 3.0)
    phases = []
    for shift in shifts:
        (crop,) = frame.crop(np.array([[40 + shift, 20, 96, 80]]), [(96, 80)])
        phases.append(phase(crop.to_ndarray()[:80, :96]))
    opened.close()
    moved = [place - phases[0] for place in phases]
    assert moved == pytest.approx(shifts, abs=0.05)
