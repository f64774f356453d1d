"""The decoder of this package against the contract that any decoder keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trackverse_cli.plugins import choose_decoder
from trackverse_cli.testing import DecoderContract

if TYPE_CHECKING:
    from pathlib import Path

    from trackverse_cli.interfaces import Decoder


class TestPyav(DecoderContract):
    def make_decoder(self, path: Path) -> Decoder:
        plugin = choose_decoder("pyav")
        return plugin.open(path, plugin.settings())


class TestPyavWithOneThread(DecoderContract):
    def make_decoder(self, path: Path) -> Decoder:
        plugin = choose_decoder("pyav")
        return plugin.open(path, plugin.settings.model_validate({"threads": 1}))
