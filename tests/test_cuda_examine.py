"""What `doctor` and `plugins` tell of cards where there is none, or where little can be asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trackverse_cli import doctor
from trackverse_cli.config import load_config
from trackverse_cuda import cards, trackverse_register_decoder
from trackverse_cuda.settings import CudaSettings

if TYPE_CHECKING:
    from pathlib import Path

    from tests.project import Project

DOES = "decodes and crops on an NVIDIA card by torch"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of Linux without a card."""
    (tmp_path / "dev").mkdir()
    monkeypatch.setattr(cards, "_DEVICES", tmp_path / "dev")
    monkeypatch.setattr(cards, "_MODELS", tmp_path / "gpus")
    monkeypatch.setattr(cards.sys, "platform", "linux")
    return tmp_path


def put_card(machine: Path, number: int, model: str, *, seen: bool = True) -> None:
    if seen:
        (machine / "dev" / f"nvidia{number}").touch()
    folder = machine / "gpus" / f"0000:0{number}:00.0"
    folder.mkdir(parents=True)
    (folder / "information").write_text(f"Model: \t\t {model} \nIRQ:   \t\t 44\nGPU UUID: \t ?\n")


def summary() -> str:
    return trackverse_register_decoder().summary


def told(project: Project, decoder: str, **settings: str) -> list[tuple[str, str]]:
    environ = {f"TRACKVERSE_DECODER__CUDA__{key}": value for key, value in settings.items()}
    config = load_config(None, {"dataset.root": project.root, "extract.decoder": decoder}, environ)
    found = doctor.examine(config)
    return [(one.state, one.message) for one in found if one.name == "cuda"]


def test_cards_are_named_by_their_models(machine: Path) -> None:
    (machine / "dev" / "nvidiactl").touch()
    (machine / "dev" / "nvidia-uvm").touch()
    assert summary() == f"{DOES} (no card here, so on the CPU)"
    put_card(machine, 0, "Tesla T4")
    put_card(machine, 1, "NVIDIA A40")
    put_card(machine, 2, "NVIDIA A40")
    assert summary() == f"{DOES} (cards here: 3, NVIDIA A40, Tesla T4)"
    put_card(machine, 3, "NVIDIA H100 PCIe", seen=False)
    assert summary() == f"{DOES} (cards here: 3)"


@pytest.mark.parametrize("system", ["Windows", "WSL", "no /dev"])
def test_where_cards_have_no_device_files_nothing_is_said(
    machine: Path, monkeypatch: pytest.MonkeyPatch, system: str
) -> None:
    if system == "Windows":
        monkeypatch.setattr(cards.sys, "platform", "win32")
    elif system == "WSL":
        (machine / "dev" / "dxg").touch()
    else:
        (machine / "dev").rmdir()
    assert summary() == DOES


def test_doctor_says_that_there_is_no_card_where_one_is_wanted(
    machine: Path, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Torch takes seconds to load, and is not asked.
    monkeypatch.setattr(cards, "card_for", None)
    assert told(project, "pyav") == []
    assert told(project, "cuda") == [("warning", "no NVIDIA card is here, so the CPU decodes")]
    ((state, message),) = told(project, "cuda", FALL_BACK="false")
    assert state == "missing"
    assert message.endswith("no NVIDIA card is here; [decoder.cuda] fall_back is off")
    assert told(project, "cuda", DEVICE="cpu") == []
    assert told(project, "pyav", FALL_BACK="false") == []


def test_doctor_says_why_torch_does_not_see_a_card(machine: Path, project: Project) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    if torch.version.cuda is not None:
        pytest.skip("torch is built with CUDA")
    put_card(machine, 0, "Tesla T4")
    ((state, message),) = told(project, "cuda")
    assert (state, message[:6]) == ("warning", "torch ")
    assert message.endswith("is built without CUDA, so the CPU decodes")
    assert told(project, "pyav") == []


def test_what_is_tried_is_decoded_as_it_says(tmp_path: Path) -> None:
    """So that a sample that a card does not decode is not the sample's fault."""
    pytest.importorskip("torch", reason="torch is not installed")
    import av

    from trackverse_cuda import examine
    from trackverse_cuda.decoder import CudaDecoder

    made = examine._make_samples(tmp_path)
    assert list(made) == list(examine.SAMPLES)
    kinds = {}
    for what, path in made.items():
        decoder = CudaDecoder(path, CudaSettings(device="cpu"))
        frames = list(decoder.frames([(0.0, 9.0)]))
        decoder.close()
        assert len(frames) == 4
        with av.open(str(path)) as container:
            context = container.streams.video[0].codec_context
            kinds[what] = (context.codec.canonical_name, context.pix_fmt)
    assert kinds == {
        "H.264": ("h264", "yuv420p"),
        "HEVC": ("hevc", "yuv420p"),
        "10-bit HEVC": ("hevc", "yuv420p10le"),
        "VP9": ("vp9", "yuv420p"),
    }
