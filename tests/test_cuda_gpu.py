"""The decoder `cuda` on a real card; skipped without one, failed with TRACKVERSE_REQUIRE_CUDA=1."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.referee import frames_of, psnr, times_of
from tests.videos import make_video
from trackverse_cli.testing import DecoderContract
from trackverse_cuda.settings import CudaSettings
from trackverse_pyav.decoder import PyavDecoder

if TYPE_CHECKING:
    from pathlib import Path

    from tests.project import Project
    from trackverse_cli.interfaces import Decoder


def missing() -> str | None:
    """What keeps these tests from running here."""
    try:
        import torch
    except ImportError:
        return "torch is not installed"
    from trackverse_cuda.cards import card_for

    if sys.platform == "darwin":
        return f"torch {torch.__version__} has no CUDA on macOS"
    return card_for(CudaSettings())[1]


@pytest.fixture(autouse=True)
def _card() -> None:
    why = missing()
    if why and os.environ.get("TRACKVERSE_REQUIRE_CUDA") == "1":
        pytest.fail(f"TRACKVERSE_REQUIRE_CUDA=1, but {why}")
    if why:
        pytest.skip(why)


def on_card(path: Path, **settings: Any) -> Any:
    from trackverse_cuda.decoder import CudaDecoder

    return CudaDecoder(path, CudaSettings.model_validate({"fall_back": False, **settings}))


class TestOnTheCard(DecoderContract):
    sees_changed_bytes = False  # NVDEC conceals them, and FFmpeg does not ask it

    def make_decoder(self, path: Path) -> Decoder:
        return on_card(path, fall_back=True)


SOURCES: dict[str, dict[str, Any]] = {
    "h264": {},
    "turned": {"rotation": 90},
    "full range": {"pix_fmt": "yuvj420p"},
    "hevc": {"codec": "libx265", "options": {"crf": "12", "x265-params": "log-level=none"}},
    "hevc 10-bit": {
        "codec": "libx265",
        "pix_fmt": "yuv420p10le",
        "options": {"crf": "12", "x265-params": "log-level=none"},
    },
    "vp9": {"codec": "libvpx-vp9", "options": {"crf": "20", "cpu-used": "8"}},
}


@pytest.mark.parametrize("kind", SOURCES)
def test_crops_and_times_are_those_of_pyav(tmp_path: Path, kind: str) -> None:
    path = make_video(tmp_path / "v.mp4", size=(640, 360), frames=30, **SOURCES[kind])
    decoder, reference = on_card(path), PyavDecoder(path, 1)
    assert (decoder.note, decoder.device[:5]) == (None, "cuda:")
    assert decoder.info == reference.info
    boxes = np.array([[10.3, 20.7, 77.1, 55.5], [3.5, 1.25, 340, 300], [150.2, 99, 100, 101]])
    sizes = [(78, 56), (64, 48), (120, 100)]
    frames = 0
    for mine, theirs in zip(decoder.frames([(0, 9)]), reference.frames([(0, 9)]), strict=True):
        assert (mine.pts, mine.time_base) == (theirs.pts, theirs.time_base)
        for one, other in zip(mine.crop(boxes, sizes), theirs.crop(boxes, sizes), strict=True):
            assert psnr(one.to_ndarray(), other.to_ndarray()) >= 45
        frames += 1
    assert frames == 30
    decoder.close()


def test_many_frames_may_be_held_and_many_videos_be_open(tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", size=(640, 360), frames=60)
    boxes, sizes = np.array([[10.0, 10, 200, 200]] * 24), [(128, 128)] * 24

    def cut(_: int) -> list[int]:
        decoder = on_card(path)
        held = [frame.crop(boxes, sizes) for frame in decoder.frames([(0, 9)])]
        decoder.close()
        return [int(crops[23].to_ndarray().sum()) for crops in held]

    with ThreadPoolExecutor(10) as pool:
        sums = list(pool.map(cut, range(20)))
    assert len(sums[0]) == 60
    assert all(one == sums[0] for one in sums)


@pytest.mark.parametrize("first", ["torch", "av"])
def test_torch_may_be_on_the_card_before_or_after(tmp_path: Path, first: str) -> None:
    path = make_video(tmp_path / "v.mp4", frames=10)
    begin = "torch.zeros(1, device='cuda');" if first == "torch" else ""
    code = (
        f"import torch; {begin}"
        "import sys; from pathlib import Path; from trackverse_cuda.decoder import CudaDecoder;"
        "from trackverse_cuda.settings import CudaSettings;"
        "s = CudaSettings(fall_back=False);"
        "n = [len(list(CudaDecoder(Path(sys.argv[1]), s).frames([(0, 9)]))) for _ in range(3)];"
        "torch.zeros(1, device='cuda'); assert n == [10, 10, 10], n"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)


def test_doctor_tells_what_each_card_does() -> None:
    import torch

    from trackverse_cuda.cards import encoding_context
    from trackverse_cuda.examine import examine

    said = list(examine(CudaSettings()))
    assert len(said) == torch.cuda.device_count()
    for card, one in enumerate(said):
        assert one.message.startswith(f"cuda:{card}, {torch.cuda.get_device_name(card)}, ")
        assert "decodes H.264" in one.message
        assert ("encodes" in one.message) == (encoding_context(card) is not None)


def test_clips_are_those_of_the_decoder_pyav(project: Project) -> None:
    project.video("abcdefghijk", size=(640, 360), frames=60)
    line = project.track("abcdefghijk", 0.2, 1.5, size=(640, 360))
    project.fetch()
    clip = project.clip(line)
    project.run("extract-tracks").exits(0)
    times, frames = times_of(clip), frames_of(clip)
    clip.unlink()
    project.run("extract-tracks", "--decoder", "cuda").exits(0)
    assert times_of(clip) == times
    for one, other in zip(frames_of(clip), frames, strict=True):
        assert psnr(one.to_ndarray(), other.to_ndarray()) >= 38


def test_nvenc_takes_crops_that_stayed_on_the_card(tmp_path: Path) -> None:
    import av

    from trackverse_cuda.cards import encoding_context

    path = make_video(tmp_path / "v.mp4", size=(640, 360), frames=10)
    decoder = on_card(path, nvenc=True)
    if decoder.hw_encoder is None:
        assert encoding_context(int(decoder.device[5:])) is None
        pytest.skip("the card has no NVENC")
    encoder: Any = av.CodecContext.create(decoder.hw_encoder, "w")
    encoder.width, encoder.height, encoder.pix_fmt = 200, 160, "cuda"
    packets = []
    for frame in decoder.frames([(0, 9)]):
        crop = frame.crop(np.array([[20.0, 30, 200, 160]]), [(200, 160)])[0]
        encoder.time_base = crop.time_base = frame.time_base
        crop.pts = frame.pts
        packets += encoder.encode(crop)
    assert len([*packets, *encoder.encode(None)]) >= 10
