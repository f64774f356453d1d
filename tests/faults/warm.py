"""What commands import, imported once before they are forked."""

from __future__ import annotations

import importlib
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from tests.faults.workers import asked

if TYPE_CHECKING:
    from pathlib import Path

STANDSTILL_SECONDS = 1.0
"""A minute's waiting for a run that cannot be told to be dead is made shorter here."""

_NEVER = ("tests.", "__main__", "pytest", "_pytest", "torch")


def warm_up(folder: Path, web: Path, url: str) -> None:
    """Import here what one run of the whole job imports in a fork of this process."""
    place = folder / "warm"
    place.mkdir()
    names = asked(lambda: _modules(place, web, url), folder)
    for name in names:
        if name not in sys.modules and not name.startswith(_NEVER):
            with suppress(Exception):
                importlib.import_module(name)
    _warm_downloader(url)
    watch_for(STANDSTILL_SECONDS)


def _warm_downloader(url: str) -> None:
    """Have the downloader prepare once what it would prepare in every run."""
    from yt_dlp.extractor import gen_extractor_classes

    for extractor in gen_extractor_classes():
        extractor.suitable(url)


def watch_for(seconds: float) -> None:
    """Say how long runs of this process watch another one that may be dead."""
    from trackverse_cli.fence import Fence
    from trackverse_cli.leases import Watch

    *others, _, beat = Fence.__init__.__defaults__ or ()
    Fence.__init__.__defaults__ = (*others, seconds, beat)
    Watch.__init__.__defaults__ = (None, seconds)


def _modules(place: Path, web: Path, url: str) -> list[str]:
    import shutil

    from typer.testing import CliRunner

    from tests.faults.box import NAME, Box
    from tests.faults.scenes import SHARDS
    from trackverse_cli.app import app

    box = Box(place, url, place / "log")
    shutil.copy(web / "in" / f"{NAME}.jsonl.gzip", place)
    env = box.env({})
    for words in (
        ["fetch-meta", str(place / f"{NAME}.jsonl.gzip")],
        ["fetch-meta", f"{url}/{NAME}.jsonl.gzip"],
        ["download-tracks"],
        ["verify", "--level", "decode", "--manifest", str(place / "m")],
        ["verify", "--report", str(place / "r.html")],
        ["adopt", str(box.root), "--dry-run"],
        ["export", str(place / "t.parquet")],
        ["submit", "--world-size", "1"],
        ["clean"],
    ):
        CliRunner().invoke(app, words, env=env)
    shutil.rmtree(box.root / "tracks_mp4")
    CliRunner().invoke(app, ["extract-tracks"], env=env | SHARDS)
    return sorted(sys.modules)
