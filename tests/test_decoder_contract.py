"""Decoders on the CPU, that of the documentation among them, against the published contract."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from trackverse_cli.plugins import choose_decoder
from trackverse_cli.testing import DecoderContract
from trackverse_cli.testing.videos import KINDS, write_video

if TYPE_CHECKING:
    from trackverse_cli.interfaces import Decoder


class TestPyav(DecoderContract):
    def make_decoder(self, path: Path) -> Decoder:
        plugin = choose_decoder("pyav")
        return plugin.open(path, plugin.settings())


class TestPyavWithOneThread(DecoderContract):
    def make_decoder(self, path: Path) -> Decoder:
        plugin = choose_decoder("pyav")
        return plugin.open(path, plugin.settings.model_validate({"threads": 1}))


class TestTheExampleOfADecoder(DecoderContract):
    """That of `docs/decoders.md`, as it stands there."""

    def make_decoder(self, path: Path) -> Decoder:
        plugin = example()["trackverse_register_decoder"]()
        decoder: Decoder = plugin.open(path, plugin.settings())
        return decoder


@cache
def example() -> dict[str, Any]:
    text = (Path(__file__).parents[1] / "docs" / "decoders.md").read_text(encoding="utf-8")
    [code] = [c for c in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "hookimpl" in c]
    names: dict[str, Any] = {"__name__": "trackverse_nearest"}
    exec(compile(code, "trackverse_nearest.py", "exec"), names)
    return names


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="ffprobe is not installed")
@pytest.mark.parametrize("name", KINDS)
def test_frames_and_times_are_those_of_ffprobe(tmp_path: Path, name: str) -> None:
    path = write_video(tmp_path / "v.mp4", name)
    words = ["-select_streams", "v", "-show_entries", "frame=pts:stream=time_base", "-of", "json"]
    told = subprocess.run(
        ["ffprobe", "-v", "error", *words, path], capture_output=True, check=True, text=True
    )
    said = json.loads(told.stdout)
    plugin = choose_decoder("pyav")
    frames = list(plugin.open(path, plugin.settings()).frames([(0.0, 1e6)]))
    assert [getattr(f, "pts", None) for f in frames] == [one["pts"] for one in said["frames"]]
    base = plugin.open(path, plugin.settings()).info.time_base
    assert f"{base.numerator}/{base.denominator}" == said["streams"][0]["time_base"]
