"""The decoder `cuda` without a card: its code on the CPU, its choices, its falling back."""

from __future__ import annotations

import subprocess
import sys
from contextlib import nullcontext
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest
from loguru import logger
from pydantic import ValidationError

from tests.referee import frames_of, psnr, times_of
from tests.videos import make_video, textured
from trackverse_cli.decoding import merged
from trackverse_cli.errors import DamagedFileError, LacksError
from trackverse_cli.interfaces import Damage
from trackverse_cli.testing import DecoderContract
from trackverse_cuda import cards, trackverse_register_decoder
from trackverse_cuda.settings import CudaSettings
from trackverse_pyav.decoder import PyavDecoder

torch = pytest.importorskip("torch", reason="torch is not installed")

from trackverse_cuda import crops as cuda_crops  # noqa: E402 - it imports torch
from trackverse_cuda.batches import batch  # noqa: E402
from trackverse_cuda.decoder import CudaDecoder  # noqa: E402
from trackverse_cuda.resample import Picture, groups, place  # noqa: E402
from trackverse_cuda.source import Source  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.project import Project
    from trackverse_cli.interfaces import Decoder

LEAST_DB = 45


def boxes_in(width: int, height: int) -> tuple[NDArray[np.float64], list[tuple[int, int]]]:
    """Boxes of every kind: whole, enlarged, shrunk, at the borders, stretched, tiny."""
    kinds = [
        ((0, 0, width, height), (width // 2 * 2, height // 2 * 2)),
        ((10.3, 20.7, 77.1, 55.5), (78, 56)),
        ((width - 60.5, height - 50.25, 60.5, 50.25), (120, 100)),
        ((0, 0, 31, 33), (64, 66)),
        ((3.5, 1.25, width - 9, height - 7), (64, 48)),
        ((50, 40, 101, 99), (40, 36)),
        ((20.25, 10.5, 90, 30), (30, 60)),
        ((7.5, 9.25, 5.5, 3), (2, 2)),
    ]
    return np.array([box for box, _ in kinds]), [size for _, size in kinds]


def on_cpu(path: Path, **settings: Any) -> CudaDecoder:
    return CudaDecoder(path, CudaSettings.model_validate({"device": "cpu", **settings}))


class TestOnTheCpu(DecoderContract):
    def make_decoder(self, path: Path) -> Decoder:
        return on_cpu(path)


class TestWithoutACard(DecoderContract):
    """What a user with `auto` gets on a machine that has none."""

    @pytest.fixture(autouse=True)
    def _no_card(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cards, "card_for", lambda _: (None, "no driver"))

    def make_decoder(self, path: Path) -> Decoder:
        return CudaDecoder(path, CudaSettings())


SOURCES: dict[str, dict[str, Any]] = {
    "plain": {},
    "turned 90": {"rotation": 90},
    "turned 180": {"rotation": 180},
    "turned 270": {"rotation": 270},
    "wide pixels": {"pixel_aspect": Fraction(4, 3)},
    "turned, with wide pixels": {"rotation": 270, "pixel_aspect": Fraction(4, 3)},
    "10-bit": {"pix_fmt": "yuv420p10le"},
    "full range": {"pix_fmt": "yuvj420p"},
    "4:2:2": {"pix_fmt": "yuv422p"},
    "odd": {"size": (321, 181), "codec": "libvpx-vp9", "options": {"crf": "20", "cpu-used": "8"}},
}


@pytest.mark.parametrize("kind", SOURCES)
def test_crops_are_those_of_pyav(tmp_path: Path, kind: str) -> None:
    path = make_video(tmp_path / "v.mp4", frames=4, draw=textured, **SOURCES[kind])
    reference, decoder = PyavDecoder(path, 1), on_cpu(path)
    assert decoder.info == reference.info
    assert (decoder.note, decoder.device, decoder.hw_encoder) == (None, "cpu", None)
    boxes, sizes = boxes_in(reference.info.width, reference.info.height)
    frames = 0
    for one, other in zip(reference.frames([(0, 9)]), decoder.frames([(0, 9)]), strict=True):
        assert (one.pts, one.time_base) == (other.pts, other.time_base)
        for box, size, mine, theirs in zip(
            boxes, sizes, other.crop(boxes, sizes), one.crop(boxes, sizes), strict=True
        ):
            assert (mine.width, mine.height, mine.format.name) == (*size, "yuv420p")
            for mine_plane, their_plane in zip(mine.planes, theirs.planes, strict=True):
                planes = (torch.from_dlpack(p).numpy() for p in (mine_plane, their_plane))
                assert psnr(*planes) >= LEAST_DB, (kind, box)
        frames += 1
    assert frames == 4


@pytest.mark.parametrize("slack", [1.0, 1.5, 100.0])
@pytest.mark.parametrize("form", ["yuv420p", "nv12", "p010le", "yuv420p10le"])
def test_one_batch_is_what_crops_one_by_one_are(form: str, slack: float) -> None:
    """On a card the boxes are sampled together, from NV12 or P010, and padded to groups."""
    plain = av.VideoFrame.from_ndarray(textured(0.3, 320, 180), "rgb24").reformat(format="yuv420p")
    frame = plain.reformat(format=form)
    for one in (plain, frame):
        one.pts, one.time_base = 0, Fraction(1, 25)
    boxes, sizes = boxes_in(320, 180)
    alone = cuda_crops.CudaFrame(plain, np.eye(3), None, lambda: None).crop(boxes, sizes)
    run, places = batch(cuda_crops.picture_of(frame), np.eye(3), boxes, sizes, slack)
    together = cuda_crops.CardCrops(run, places, None, None)
    for one, other in zip(alone, together[:], strict=True):
        difference = one.to_ndarray().astype(int) - other.to_ndarray().astype(int)
        assert np.abs(difference).max() <= 1


def test_crops_for_nvenc_are_nv12_with_chroma_after_luma() -> None:
    frame = av.VideoFrame.from_ndarray(textured(0.3, 320, 180), "rgb24").reformat(format="yuv420p")
    boxes, sizes = boxes_in(320, 180)
    picture = cuda_crops.picture_of(frame)
    planar = cuda_crops.CardCrops(*batch(picture, np.eye(3), boxes, sizes), None, None)
    run, places = batch(picture, np.eye(3), boxes, sizes, interleaved=True)
    for one, where in zip(planar, places, strict=True):
        other = av.VideoFrame.from_dlpack(where.planes(run), "nv12")
        offset, pitch = where.luma
        assert where.chroma == ((offset + pitch * where.size[1], pitch),)
        assert (other.reformat(format="yuv420p").to_ndarray() == one.to_ndarray()).all()


def test_groups_hold_every_box_once_and_waste_no_more_than_the_slack() -> None:
    random = np.random.default_rng(3)
    sizes = [(int(w) * 2, int(h) * 2) for w, h in random.integers(10, 200, (40, 2))]
    boxes = np.column_stack([np.zeros((40, 2)), random.uniform(20, 700, (40, 2))])
    sampling = place(np.eye(3), boxes, sizes)
    for slack in (1.0, 1.5, 4.0):
        found = groups(sampling, slack)
        assert sorted(one for group in found for one in group) == list(range(40))
        for group in found:
            needed = sum(sizes[one][0] * sizes[one][1] for one in group)
            widest, highest = (max(sizes[one][n] for one in group) for n in (0, 1))
            assert widest * highest * len(group) <= slack * needed
            assert len({tuple(sampling.finer[one]) for one in group}) == 1
    assert len(groups(sampling, 4.0)) < len(groups(sampling, 1.5)) < 40


def test_a_frame_comes_off_the_card_with_its_pitch() -> None:
    wide = torch.arange(12 * 32, dtype=torch.uint8).reshape(12, 32)
    chroma = torch.arange(6 * 32, dtype=torch.uint8).reshape(6, 16, 2)
    picture = Picture(wide[:, :20], (chroma[:, :10],)).on_host()
    assert torch.equal(picture.luma, wide[:, :20])
    assert torch.equal(picture.chroma[0], chroma[:, :10])


@pytest.mark.parametrize(
    ("settings", "environ", "expected"),
    [
        ({"device": "cuda"}, {"SLURM_LOCALID": "3"}, 0),
        ({"device": "cuda:2"}, {"SLURM_LOCALID": "3"}, 2),
        ({}, {"SLURM_LOCALID": "3", "LOCAL_RANK": "1"}, 3),
        ({}, {"SLURM_LOCALID": "6"}, 2),
        ({}, {"LOCAL_RANK": "1"}, 1),
        ({"rank": 5}, {"LOCAL_RANK": "0"}, 1),
        ({}, {"LOCAL_RANK": ""}, 1),
    ],
)
def test_the_card_is_chosen_by_rank(
    settings: dict[str, Any], environ: dict[str, str], expected: int
) -> None:
    assert cards.pick(CudaSettings.model_validate(settings), 4, environ, pid=4001) == expected


def test_a_card_that_is_not_there_is_named() -> None:
    with pytest.raises(IndexError, match="no cuda:4 here, 4 visible"):
        cards.pick(CudaSettings(device="cuda:4"), 4, {}, 0)


@pytest.mark.parametrize("bad", [{"device": "gpu"}, {"device": "cuda:x"}, {"sesions": 2}])
def test_wrong_settings_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CudaSettings.model_validate(bad)


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What is said from here on, as if nothing had been said before."""
    monkeypatch.setattr(cards, "_told", set())
    told: list[str] = []
    handler = logger.add(lambda message: told.append(message.record["message"]), level="WARNING")
    yield told
    logger.remove(handler)


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A card that decodes everything, in fact in software; its places are all given back."""
    monkeypatch.setattr(cards, "card_for", lambda _: (0, None))
    monkeypatch.setattr(cards, "ways", lambda: (False,))
    monkeypatch.setattr(cards, "acceleration", lambda _, shared: nullcontext())
    monkeypatch.setattr(Source, "on_card", True)
    monkeypatch.setattr(cards, "_sessions", {})
    yield
    assert set(cards._sessions.values()) <= {0}


def test_without_a_card_it_is_said_once_and_noted(
    tmp_path: Path, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    path = make_video(tmp_path / "v.mp4", frames=3)
    for _ in range(2):
        decoder = CudaDecoder(path, CudaSettings())
        assert decoder.device == "cpu"
        assert "no NVIDIA card or driver" in str(decoder.note)
        assert str(decoder.note) in warnings[0]
    assert len(warnings) == 1
    with pytest.raises(LacksError, match="fall_back is off"):
        CudaDecoder(path, CudaSettings(fall_back=False))


@pytest.mark.usefixtures("pretended")
def test_what_the_card_does_not_decode_is_decoded_on_the_cpu(
    tmp_path: Path, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Source, "on_card", False)
    path = make_video(tmp_path / "v.mp4", frames=3, pix_fmt="yuv420p10le")
    decoder = CudaDecoder(path, CudaSettings())
    assert decoder.note == "cuda:0 does not decode h264 yuv420p10le"
    assert len(list(decoder.frames([(0, 9)]))) == 3
    decoder.close()
    assert len(warnings) == 1
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video" * 100)
    with pytest.raises(DamagedFileError, match=r"broken\.mp4"):
        CudaDecoder(broken, CudaSettings(fall_back=False))


@pytest.mark.usefixtures("pretended")
def test_the_cpu_goes_on_where_the_card_fails(
    tmp_path: Path, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_video(tmp_path / "v.mp4", frames=100)
    whole = Source.pictures

    def failing(self: Source, spans: Any) -> Any:
        for number, picture in enumerate(whole(self, spans)):
            if number == 30:
                yield Damage(1.0, 9.0, "cannot read the video: out of memory")
                return
            yield picture

    monkeypatch.setattr(Source, "pictures", failing)
    spans = [(0.2, 1.9), (0.1, 0.5), (3.0, 3.5)]
    decoder = CudaDecoder(path, CudaSettings())
    assert decoder.device == "cuda:0"
    got = [frame.pts for frame in decoder.frames(spans)]
    assert got == [frame.pts for frame in PyavDecoder(path, 1).frames(spans)]
    assert decoder.device == "cpu"
    assert decoder.note == "cuda:0 stopped at 1.000 s"
    assert len(warnings) == 1
    decoder.close()


@pytest.mark.usefixtures("pretended")
def test_a_frame_that_does_not_fit_is_cropped_on_the_cpu(
    tmp_path: Path, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Picture, "on_card", True)
    monkeypatch.setattr(cuda_crops.CudaFrame, "_crop_on_card", full)
    path = make_video(tmp_path / "v.mp4", frames=3)
    boxes, sizes = boxes_in(320, 180)
    decoder = CudaDecoder(path, CudaSettings())
    for mine, theirs in zip(
        decoder.frames([(0, 9)]), PyavDecoder(path, 1).frames([(0, 9)]), strict=True
    ):
        for one, other in zip(mine.crop(boxes, sizes), theirs.crop(boxes, sizes), strict=True):
            assert psnr(one.to_ndarray(), other.to_ndarray()) >= LEAST_DB
    assert "no memory" in str(decoder.note)
    assert len(warnings) == 1
    decoder.close()


@pytest.mark.usefixtures("pretended")
def test_more_videos_than_sessions_are_decoded_on_the_cpu(
    tmp_path: Path, warnings: list[str]
) -> None:
    path = make_video(tmp_path / "v.mp4", frames=3)
    settings = CudaSettings(sessions=2)
    opened = [CudaDecoder(path, settings) for _ in range(3)]
    assert [one.device for one in opened] == ["cuda:0", "cuda:0", "cpu"]
    opened[0].close()
    opened[0].close()
    again = CudaDecoder(path, settings)
    assert (again.device, again.note) == ("cuda:0", None)
    for one in (*opened, again):
        one.close()
    assert len(warnings) == 1


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"options": {"x264-params": "open-gop=1:bframes=3:log-level=none", "crf": "20"}},
        {
            "time_base": Fraction(1, 50),
            "times": [Fraction(7, 5) + Fraction(k, 25) for k in range(700)],
        },
        {"container_format": "matroska"},
        {"muxer_options": {"movflags": "frag_keyframe+empty_moov"}},
    ],
    ids=["plain", "open GOPs", "starts late", "matroska", "fragments"],
)
def test_gaps_are_sought_over_as_pyav_does(tmp_path: Path, how: dict[str, Any]) -> None:
    path = make_video(tmp_path / "v.mp4", size=(64, 48), **{"frames": 700, **how})
    spans = [(20.1, 20.6), (2.0, 2.5), (2.4, 3.1), (25.0, 25.0), (26.9, 60.0)]
    expected = [frame.pts for frame in PyavDecoder(path, 1).frames(spans)]
    assert [frame.pts for frame in on_cpu(path).frames(spans)] == expected
    assert merged(spans) == [(2.0, 3.1), (20.1, 20.6), (25.0, 25.0), (26.9, 60.0)]


def test_threads_of_torch_are_as_they_were(tmp_path: Path) -> None:
    boxes, sizes = boxes_in(320, 180)
    path = make_video(tmp_path / "v.mp4", frames=1)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        frame = next(iter(on_cpu(path).frames([(0, 1)])))
        list(frame.crop(boxes, sizes))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_listing_it_loads_neither_torch_nor_av() -> None:
    code = (
        "import sys, trackverse_cuda as t; p = t.trackverse_register_decoder(); p.unavailable();"
        "assert not {'torch', 'av', 'cv2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    plugin = trackverse_register_decoder()
    assert (plugin.name, plugin.needs_gpu, plugin.unavailable()) == ("cuda", True, None)


def test_it_says_that_torch_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trackverse_cuda.find_spec", lambda _: None)
    assert "pip install 'trackverse[torch]'" in str(trackverse_register_decoder().unavailable())


def test_clips_are_those_of_the_decoder_pyav(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.video("abcdefghijk", frames=60, draw=textured)
    project.video("ABCDEFGHIJK", size=(180, 320), frames=50, rotation=90, draw=textured)
    for video, first, last, box in [
        ("abcdefghijk", 0.2, 1.5, 0.5),
        ("abcdefghijk", 0.9, 2.1, 0.8),
        ("ABCDEFGHIJK", 0.4, 1.4, 0.5),
    ]:
        project.track(video, first, last, box=box)
    project.fetch()
    # Of such quality that what the encoder loses does not hide how the crops differ.
    project.env["TRACKVERSE_ENCODE__CRF"] = "4"
    clips = [project.clip(line) for line in project.lines if isinstance(line, dict)]
    project.run("extract-tracks").exits(0)
    expected = [(times_of(clip), frames_of(clip)) for clip in clips]
    for clip in clips:
        clip.unlink()
    project.env["TRACKVERSE_DECODER__CUDA__DEVICE"] = "cpu"
    devices = []
    brought = CudaDecoder.frames

    def watched(self: CudaDecoder, spans: Any) -> Any:
        devices.append(self.device)
        return brought(self, spans)

    monkeypatch.setattr(CudaDecoder, "frames", watched)
    project.run("extract-tracks", "--decoder", "cuda").exits(0)
    assert devices == ["cpu", "cpu"]
    for clip, (times, frames) in zip(clips, expected, strict=True):
        assert times_of(clip) == times
        for one, other in zip(frames_of(clip), frames, strict=True):
            assert psnr(one.to_ndarray(), other.to_ndarray()) >= LEAST_DB


def test_the_ledger_says_that_the_cpu_took_over(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cards, "card_for", lambda _: (None, "no driver here"))
    project.video("abcdefghijk", frames=30)
    project.track("abcdefghijk", 0.2, 0.9)
    project.fetch()
    project.run("extract-tracks", "--decoder", "cuda").exits(0)
    assert [line["note"] for line in project.ledger() if line["kind"] == "clips"] == [
        "no driver here"
    ]
