"""The decoder `cuda` on a card that is only pretended, through FFmpeg's own NVDEC code.

What PyAV hands out as frames of a card, in which shape, what seeking, damage, a full card or one
that fails does to them, is the same as on a real card; what torch does there, is not seen here.
"""

from __future__ import annotations

import gc
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import av
import pytest

pytest.importorskip("torch", reason="torch is not installed")

from tests import pretended_card
from tests.referee import frames_of, psnr, times_of
from tests.test_changed_source import DOUBT, scramble
from tests.test_cuda import boxes_in
from tests.videos import make_video, textured
from trackverse_cli.errors import DamagedFileError, LacksError
from trackverse_cli.files import checksum
from trackverse_cli.interfaces import Ability
from trackverse_cli.ledger import Ledger
from trackverse_cli.testing import DecoderContract
from trackverse_cuda import cards
from trackverse_cuda import crops as cuda_crops
from trackverse_cuda.batches import Places
from trackverse_cuda.decoder import CudaDecoder
from trackverse_cuda.examine import _make_samples, examine
from trackverse_cuda.settings import CudaSettings
from trackverse_pyav.decoder import PyavDecoder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.project import Project
    from trackverse_cli.interfaces import Decoder

pytestmark = pytest.mark.skipif(
    pretended_card.missing() is not None, reason=f"{pretended_card.missing()}"
)
EVERYTHING = [(0.0, 99.0)]


class Card:
    """The pretended card as a test sees it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._pictures, self._log = folder / "pictures", folder / "log"
        self._monkeypatch = monkeypatch
        self._taught: set[Path] = set()
        monkeypatch.setenv("PRETENDED_PICTURES", str(self._pictures))
        monkeypatch.setenv("PRETENDED_LOG", str(self._log))

    def teach(self, path: Path) -> None:
        if path not in self._taught:
            pretended_card.teach(path, self._pictures)
            self._taught.add(path)

    def limit(self, **limits: int) -> None:
        for name, most in limits.items():
            self._monkeypatch.setenv(f"PRETENDED_{name.upper()}", str(most))

    @property
    def told(self) -> Counter[str]:
        lines = self._log.read_text(encoding="utf-8").splitlines() if self._log.exists() else []
        return Counter(line.rpartition(" ")[0] for line in lines)


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> None:
    pretended_card.install(tmp_path_factory.mktemp("driver"))


@pytest.fixture
def card(driver: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Card]:
    monkeypatch.setattr(cards, "card_for", lambda _: (0, None))
    monkeypatch.setattr(cards, "_sessions", {})
    monkeypatch.setattr(cuda_crops, "from_dlpack", pretended_card.tensor_of)
    pretended = Card(tmp_path, monkeypatch)
    gc.collect()  # what earlier tests left on the card counts towards the limits of this one
    yield pretended
    assert not [what for what in pretended.told if what.startswith(("wrong", "unexpected"))]


@pytest.fixture
def batched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Crop as on a card, all boxes of a frame at once, and wait for them."""

    class Event:
        def __init__(self, blocking: bool) -> None: ...
        def record(self) -> None: ...
        def synchronize(self) -> None: ...

    torch: Any = cuda_crops.torch
    empty = torch.empty
    monkeypatch.setattr(cuda_crops.Picture, "on_card", True)
    monkeypatch.setattr(torch.cuda, "device", pretended_card.device)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch, "empty", lambda *a, pin_memory=False, **k: empty(*a, **k))


@pytest.fixture
def nvenc(card: Card, batched: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A card that encodes as well."""
    torch: Any = cuda_crops.torch
    planes = Places.planes

    def found(self: Places, run: Any) -> tuple[Any, ...]:
        got = planes(self, run)
        return pretended_card.on_card(got) if len(got) == 2 else got

    monkeypatch.setattr(Places, "planes", found)
    monkeypatch.setattr(cuda_crops.Picture, "on", lambda self, device: self)
    monkeypatch.setattr(torch, "full", pretended_card.full)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: None)
    monkeypatch.setattr(cards, "current", pretended_card.current)
    cards.encoding_context.cache_clear()


class TestOnAPretendedCard(DecoderContract):
    """What a real card is asked as well, in `test_cuda_gpu.py`."""

    sees_changed_bytes = False

    @pytest.fixture(autouse=True)
    def _card(self, card: Card) -> None:
        self.card = card

    def make_decoder(self, path: Path) -> Decoder:
        if path.suffix == ".mp4" and b"<html>" not in path.read_bytes()[:6]:
            self.card.teach(path)
        return CudaDecoder(path, CudaSettings())

    def test_it_is_the_card_that_decodes(self, tmp_path: Path) -> None:
        self.test_videos_with_open_gops(tmp_path)
        told = self.card.told
        assert told["picture"] > 120
        assert told["unknown picture"] == 0


HEVC = {"codec": "libx265", "options": {"crf": "12", "x265-params": "log-level=none"}}
SOURCES: dict[str, dict[str, Any]] = {
    "h264": {},
    "turned": {"rotation": 90},
    "full range": {"pix_fmt": "yuvj420p"},
    "hevc": HEVC,
    "hevc 10-bit": {**HEVC, "pix_fmt": "yuv420p10le"},
    "vp9": {"codec": "libvpx-vp9", "options": {"crf": "20", "cpu-used": "5"}},
}


@pytest.mark.parametrize("how", ["one by one", "batched"])
@pytest.mark.parametrize("kind", SOURCES)
def test_crops_and_times_are_those_of_pyav(
    tmp_path: Path, card: Card, kind: str, how: str, request: pytest.FixtureRequest
) -> None:
    # 180 rows are coded as 192, so what lies beyond the picture would show.
    path = make_video(tmp_path / "v.mp4", frames=12, draw=textured, **SOURCES[kind])
    card.teach(path)
    if how == "batched":
        request.getfixturevalue("batched")
    decoder, reference = CudaDecoder(path, CudaSettings(fall_back=False)), PyavDecoder(path, 1)
    assert (decoder.note, decoder.device, decoder.info) == (None, "cuda:0", reference.info)
    boxes, sizes = boxes_in(reference.info.width, reference.info.height)
    pairs = list(zip(decoder.frames(EVERYTHING), reference.frames(EVERYTHING), strict=True))
    decoder.close()
    assert len(pairs) == 12
    for mine, theirs in pairs:
        assert (mine.pts, mine.time_base) == (theirs.pts, theirs.time_base)
        for one, other in zip(mine.crop(boxes, sizes), theirs.crop(boxes, sizes), strict=True):
            assert psnr(one.to_ndarray(), other.to_ndarray()) >= 45
    assert card.told["unknown picture"] == 0
    assert card.told["picture"] >= 12


def test_the_card_s_memory_is_given_back(tmp_path: Path, card: Card) -> None:
    path = make_video(tmp_path / "v.mp4", frames=60)
    before = pretended_card.pieces_held()
    decoder = CudaDecoder(path, CudaSettings())
    held = list(decoder.frames(EVERYTHING))
    decoder.close()
    assert pretended_card.pieces_held() - before >= 60
    boxes, sizes = boxes_in(320, 180)
    assert len(list(held[30].crop(boxes, sizes))) == len(sizes)
    del held, decoder
    assert pretended_card.pieces_held() == before


@pytest.mark.parametrize("knows", [True, False])
def test_a_card_that_torch_used_first_is_shared(
    tmp_path: Path, card: Card, monkeypatch: pytest.MonkeyPatch, knows: bool
) -> None:
    monkeypatch.setattr(cuda_crops.torch.cuda, "is_initialized", lambda: knows)
    monkeypatch.setattr(cards, "current", pretended_card.current)
    path = make_video(tmp_path / "v.mp4", frames=10)
    with pretended_card.torch_was_first():
        decoder = CudaDecoder(path, CudaSettings(fall_back=False))
        assert len(list(decoder.frames(EVERYTHING))) == 10
        decoder.close()
    assert card.told["picture"] >= 10


@pytest.mark.parametrize("limit", ["memory", "pictures_left", "decoders"])
@pytest.mark.parametrize("after", [0, 1, 6, 20, 45])
def test_the_cpu_takes_over_where_the_card_cannot(
    tmp_path: Path, card: Card, limit: str, after: int
) -> None:
    path = make_video(tmp_path / "v.mp4", frames=60)
    card.teach(path)
    wanted = [frame.pts for frame in PyavDecoder(path, 1).frames(EVERYTHING)]
    card.limit(**{limit: after})
    decoder = CudaDecoder(path, CudaSettings())
    frames = list(decoder.frames(EVERYTHING))
    assert [frame.pts for frame in frames] == wanted
    if limit == "decoders" and after > 0:
        assert (decoder.note, decoder.device) == (None, "cuda:0")
    else:
        assert decoder.device == "cpu"
        assert decoder.note is not None
        assert decoder.note.startswith("cuda:0 ")
        assert ("memory" in decoder.note) == (limit == "memory")
    decoder.close()
    assert set(cards._sessions.values()) <= {0}
    if not isinstance(frames[-1], cuda_crops.CudaFrame) or after == 0:
        return
    boxes, sizes = boxes_in(320, 180)
    whole = list(PyavDecoder(path, 1).frames(EVERYTHING))
    for one, other in zip(frames[::7], whole[::7], strict=True):
        for mine, theirs in zip(one.crop(boxes, sizes), other.crop(boxes, sizes), strict=True):
            assert psnr(mine.to_ndarray(), theirs.to_ndarray()) >= 45


@pytest.mark.parametrize("after", [0, 12])
def test_a_full_card_is_an_error_where_nothing_may_take_over(
    tmp_path: Path, card: Card, after: int
) -> None:
    path = make_video(tmp_path / "v.mp4", frames=60)
    card.limit(memory=after)
    with pytest.raises(LacksError, match=r"cuda:0 has no memory.*fall_back is off") as caught:
        held = list(CudaDecoder(path, CudaSettings(fall_back=False)).frames(EVERYTHING))  # noqa: F841 - the card's memory is full of them
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("form", "what"),
    [
        ({"pix_fmt": "yuv420p10le"}, "h264 yuv420p10le"),
        ({"pix_fmt": "yuv444p"}, "h264 yuv444p"),
        ({"size": (30, 30)}, "h264 yuv420p"),
        ({"codec": "libsvtav1", "options": {"preset": "12"}}, "av1 yuv420p"),
    ],
)
def test_what_the_card_does_not_take_is_decoded_on_the_cpu(
    tmp_path: Path, card: Card, form: dict[str, Any], what: str
) -> None:
    path = make_video(tmp_path / "v.mp4", frames=10, **form)
    decoder = CudaDecoder(path, CudaSettings())
    assert decoder.note == f"cuda:0 does not decode {what}"
    assert len(list(decoder.frames(EVERYTHING))) == 10
    decoder.close()
    assert card.told["picture"] == 0


def test_a_file_that_is_no_video_is_damaged(tmp_path: Path, card: Card) -> None:
    path = tmp_path / "page.mp4"
    path.write_bytes(b"<html>" * 300)
    with pytest.raises(DamagedFileError, match=r"page\.mp4"):
        CudaDecoder(path, CudaSettings(fall_back=False))


def test_ten_videos_at_once(tmp_path: Path, card: Card) -> None:
    path = make_video(tmp_path / "v.mp4", frames=40)
    card.teach(path)
    boxes, sizes = boxes_in(320, 180)

    def cut(_: int) -> list[int]:
        decoder = CudaDecoder(path, CudaSettings(fall_back=False))
        spans = [(1.3, 1.4), (0.1, 0.3)]
        crops = [list(frame.crop(boxes, sizes)) for frame in decoder.frames(spans)]
        decoder.close()
        return [int(one.to_ndarray().sum()) for each in crops for one in each]

    with ThreadPoolExecutor(10) as pool:
        sums = list(pool.map(cut, range(20)))
    assert len(sums[0]) > 7 * len(sizes)
    assert all(one == sums[0] for one in sums)
    assert card.told["unknown picture"] == 0
    assert set(cards._sessions.values()) == {0}


@pytest.fixture
def cut(project: Project) -> Cut:
    return Cut(project)


class Cut:
    """Clips of one video as the decoder `pyav` cuts them, and then as the card does."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.video = project.video("abcdefghijk", size=(640, 360), frames=60, draw=textured)
        for first, last, box in [(0.2, 1.1, 0.5), (0.6, 1.5, 0.6), (1.9, 2.2, 0.5)]:
            project.track("abcdefghijk", first, last, box=box, size=(640, 360))
        # NVENC takes none that is as small as this.
        project.track("abcdefghijk", 1.9, 2.2, box=0.1, size=(640, 360))
        project.fetch()
        # Of such quality that what the encoder loses does not hide how the crops differ.
        project.env["TRACKVERSE_ENCODE__CRF"] = "4"
        self.clips = [project.clip(line) for line in project.lines if isinstance(line, dict)]
        project.run("extract-tracks").exits(0)
        self.expected = [(times_of(clip), frames_of(clip)) for clip in self.clips]
        for clip in self.clips:
            clip.unlink()

    def on_card(self, card: Card, **limits: int) -> str:
        """Cut them anew, hold them against the first ones, and return the ledger's note."""
        card.teach(self.video)
        card.limit(**limits)
        self.project.run("extract-tracks", "--decoder", "cuda").exits(0)
        assert card.told["picture"] > 1
        assert card.told["unknown picture"] == 0
        for clip, (times, frames) in zip(self.clips, self.expected, strict=True):
            assert times_of(clip) == times
            for one, other in zip(frames_of(clip), frames, strict=True):
                assert psnr(one.to_ndarray(), other.to_ndarray()) >= 45
        lines = [line for line in self.project.ledger() if line["kind"] == "clips"]
        return str(max(lines, key=lambda line: line["time"]).get("note", ""))


NO_NVENC = "h264_nvenc does not open, so libx264 encodes"
LIMITS: list[tuple[dict[str, int], str]] = [
    ({}, r"^$"),
    ({"pictures_left": 30}, r"^cuda:0 stopped at 1\.\d+ s$"),
    ({"memory": 2}, r"^cuda:0 has no memory left to decode it$"),
]


@pytest.mark.usefixtures("batched")
@pytest.mark.parametrize(("limits", "note"), LIMITS, ids=str)
def test_clips_are_those_of_the_decoder_pyav(
    cut: Cut, card: Card, limits: dict[str, int], note: str
) -> None:
    assert re.search(note, cut.on_card(card, **limits))


@pytest.mark.usefixtures("nvenc")
@pytest.mark.parametrize(("limits", "note"), LIMITS, ids=str)
def test_clips_are_encoded_on_the_card(
    cut: Cut, card: Card, limits: dict[str, int], note: str
) -> None:
    """Also where the CPU decodes the rest of a video."""
    cut.project.env["TRACKVERSE_DECODER__CUDA__NVENC"] = "true"
    told = cut.on_card(card, **limits)
    assert told.endswith(NO_NVENC)
    assert re.search(note, told.removesuffix(NO_NVENC).removesuffix("; "))
    assert card.told["encoder, forwards only"] == 3
    assert card.told["encoded"] == sum(len(times) for times, _ in cut.expected[:3]) + 1
    for clip in cut.clips[:3]:
        with av.open(str(clip)) as container:
            packets = {packet.pts: bytes(packet) for packet in container.demux(video=0)}
        slices = {pts: [*pretended_card.slices(one, "h264", 4)] for pts, one in packets.items()}
        keys = [pts for pts, found in slices.items() if found and found[0][0] & 31 == 5]
        assert keys == [0, 6144, 12288][: len(keys)]


@pytest.mark.usefixtures("nvenc")
@pytest.mark.parametrize("encodes", [False, True])
def test_the_second_card_does_as_the_first(
    cut: Cut, card: Card, monkeypatch: pytest.MonkeyPatch, encodes: bool
) -> None:
    monkeypatch.setattr(cards, "card_for", lambda _: (1, None))
    monkeypatch.setattr(pretended_card.CardTensor, "card", 1)
    cut.project.env["TRACKVERSE_DECODER__CUDA__NVENC"] = str(encodes).lower()
    assert cut.on_card(card) == (NO_NVENC if encodes else "")
    assert card.told["encoder, forwards only"] == 3 * encodes
    assert set(cards._sessions) == {1}


@pytest.mark.usefixtures("nvenc")
@pytest.mark.parametrize("most", [0, 1])
def test_with_too_few_encoders_the_cpu_encodes(cut: Cut, card: Card, most: int) -> None:
    """GeForce cards open a few; one is opened to see whether there is any."""
    cut.project.env["TRACKVERSE_DECODER__CUDA__NVENC"] = "true"
    note = cut.on_card(card, sessions=most)
    if most == 0:
        assert (note, card.told["encoded"]) == ("", 0)  # as without `nvenc`
    else:
        assert note == NO_NVENC
        assert card.told["encoder, forwards only"] >= 1


@pytest.mark.usefixtures("batched")
@pytest.mark.parametrize("is_recorded", [True, False])
def test_a_video_that_has_changed_is_not_left_to_the_card(
    cut: Cut, card: Card, is_recorded: bool
) -> None:
    """A card does not see it: where nobody knows the checksum, the clips are cut all the same."""
    project = cut.project
    if is_recorded:
        with Ledger(project.layout, "download-videos", 0, 1, project.name) as ledger:
            ledger.video("abcdefghijk", "present", checksum=checksum(cut.video))
    card.teach(cut.video)
    scramble(cut.video, 0.8)
    told = project.run("extract-tracks", "--decoder", "cuda")
    gone = [clip for clip in cut.clips if not clip.exists()]
    if is_recorded:
        told.exits(1)
        assert gone == cut.clips[:2]
        assert DOUBT in told.err
        assert card.told["picture"] == 0
    else:
        told.exits(0)
        assert gone == []
        assert card.told["unknown picture"] == 1


@pytest.fixture
def samples(tmp_path: Path, card: Card, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """What `doctor` tries, known to the card; and torch's words on it."""
    made = _make_samples(tmp_path)
    for path in made.values():
        card.teach(path)
    monkeypatch.setattr("trackverse_cuda.examine._make_samples", lambda _: made)
    monkeypatch.setattr(cards, "count_seen", lambda: 1)
    cuda: Any = cuda_crops.torch.cuda
    monkeypatch.setattr(cuda, "device_count", lambda: 1)
    monkeypatch.setattr(cuda, "get_device_name", lambda number: f"Pretended {number}")
    monkeypatch.setattr(cuda, "mem_get_info", lambda _: (3 * 2**30, 4 * 2**30))
    return made


ALL = "decodes H.264, HEVC, 10-bit HEVC, VP9"
WHAT = "cuda:0, Pretended 0, 3.0 of 4.0 GiB free"


@pytest.mark.usefixtures("samples", "nvenc")
def test_doctor_tries_what_the_card_does(card: Card) -> None:
    assert list(examine(CudaSettings())) == [Ability(f"{WHAT}: {ALL}; encodes (NVENC)")]
    assert card.told["picture"] == 16
    assert card.told["unknown picture"] == 0
    assert set(cards._sessions.values()) == {0}


@pytest.mark.usefixtures("samples", "nvenc")
@pytest.mark.parametrize("wanted", [False, True])
def test_doctor_says_that_a_card_does_not_encode(card: Card, wanted: bool) -> None:
    card.limit(sessions=0)
    (said,) = examine(CudaSettings(nvenc=wanted))
    assert said == Ability(f"{WHAT}: {ALL}; no NVENC that opens here", lacks=wanted)


@pytest.mark.usefixtures("samples", "nvenc")
def test_doctor_leaves_out_what_the_card_does_not_decode(
    samples: dict[str, Path], tmp_path: Path
) -> None:
    samples["HEVC"] = make_video(tmp_path / "deep.mp4", frames=4, pix_fmt="yuv420p10le")
    (said,) = examine(CudaSettings())
    assert ": decodes H.264, 10-bit HEVC, VP9; " in said.message
    assert not said.lacks


@pytest.mark.usefixtures("samples", "nvenc")
@pytest.mark.parametrize(
    ("limit", "why"),
    [
        ({"decoders": 0}, r"cuda:0 does not decode h264 yuv420p"),
        ({"memory": 0}, r"cuda:0 has no memory left to decode it"),
        ({"pictures_left": 2}, r"cuda:0 stopped at 0\.\d+ s"),
    ],
)
def test_doctor_says_why_a_card_decodes_nothing(
    card: Card, limit: dict[str, int], why: str
) -> None:
    card.limit(**limit)
    (said,) = examine(CudaSettings())
    assert said.lacks
    assert re.search(f"^{re.escape(WHAT)}: decodes nothing: {why}", said.message)
    assert set(cards._sessions.values()) <= {0}


@pytest.mark.usefixtures("nvenc")
def test_doctor_says_that_it_had_nothing_to_try(samples: dict[str, Path]) -> None:
    samples.clear()
    (said,) = examine(CudaSettings())
    assert "decodes nothing: there is no video to try it with; " in said.message
    assert said.lacks


@pytest.mark.usefixtures("samples")
def test_doctor_says_that_torch_cannot_use_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be ...")

    monkeypatch.setattr(cuda_crops.torch.cuda, "mem_get_info", full)
    (said,) = examine(CudaSettings())
    assert said == Ability("cuda:0 cannot be used: CUDA error: out of memory", lacks=True)
