"""The fault sweep's quick part, what its checks see, and what the sweep has found so far."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import SERVED_IDS
from tests.faults.box import Box, flip
from tests.faults.checks import _outside, after_again, after_fault, leftovers, snapshot
from tests.faults.scenes import SCENES
from tests.faults.shim import has_compiler
from tests.faults.sweep import Fault, quick_part
from tests.original import Script
from trackverse_cli.clock import SystemClock
from trackverse_cli.errors import LacksError
from trackverse_cli.files import is_temporary
from trackverse_cli.layout import Layout
from trackverse_cli.ledger import Ledger, read_ledger
from trackverse_cli.means import lacking, ready_pool

if TYPE_CHECKING:
    from tests.project import Project

IDS = SERVED_IDS


@pytest.mark.skipif(not has_compiler(), reason="no C compiler to build the counting library with")
def test_the_quick_part_of_the_sweep_loses_nothing() -> None:
    words = [sys.executable, "-m", "tests.faults", "--quick", "--json", "--workers", "2"]
    root = Path(__file__).parent.parent
    done = subprocess.run(words, cwd=root, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    figures = json.loads(done.stdout)
    assert figures["lost"] == []
    assert done.returncode == 0
    assert figures["injected"] > 100
    assert set(figures["points"]) == {scene.name for scene in SCENES if scene.quick}


def test_the_checks_see_what_is_lost(served: Project, tmp_path: Path) -> None:
    for folder in ("in", "old"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "Tiny.jsonl.gzip").write_bytes(
            (served.layout.metadata / "Tiny.jsonl.gzip").read_bytes()
        )
    box = Box(tmp_path, "", tmp_path / "log")
    scene = next(scene for scene in SCENES if scene.name == "extract-tracks")
    before = snapshot(box)
    # This small dataset has two tracks, the sweep's three or four.
    sound = [told for told in after_fault(scene, box, before) if told != "the index has 2 tracks"]
    assert sound == []
    line = served.lines[0]
    assert isinstance(line, dict)
    clip = served.clip(line)
    whole = clip.read_bytes()
    clip.write_bytes(whole[:-100])
    told = "\n".join(after_fault(scene, box, before))
    assert "stands in its place damaged" in told
    assert "recorded and not there as recorded" in told
    assert "is not what it was" in told
    clip.unlink()
    assert "was there and is gone" in "\n".join(after_fault(scene, box, before))
    clip.write_bytes(whole)
    for path in served.layout.ledger.iterdir():
        path.write_bytes(path.read_bytes()[:300])
    assert "is lost" in "\n".join(after_fault(scene, box, before))
    clip.with_name(".tv-0123456789abcdef.tmp").touch()
    assert any(clip.parent.name in told for told in leftovers(box))


def test_the_checks_know_a_clip_by_other_scripts_and_what_a_move_loses(
    project: Project, tmp_path: Path
) -> None:
    line = project.track(IDS[0], 0.1, 0.9)
    clip = Script(flushes=True).cut(project.video(IDS[0], frames=40), line, project.root)
    project.fetch()
    for folder in ("in", "old"):
        (tmp_path / folder).mkdir()
        shutil.copy(project.layout.metadata / "Tiny.jsonl.gzip", tmp_path / folder)
    project.run("adopt", str(project.root)).exits(0)
    shutil.copytree(project.root, tmp_path / "elsewhere" / "root")
    box = Box(tmp_path, "", tmp_path / "log")
    scene = next(scene for scene in SCENES if scene.name == "adopt-in-place")
    moves = next(scene for scene in SCENES if scene.name == "adopt-move")
    before = snapshot(box)
    there = [told for told in after_fault(scene, box, before) if "the index has" not in told]
    assert there == []
    assert any("not moved to the end" in told for told in after_again(moves, box, before))
    with clip.open("ab") as file:
        file.write(b"\x00\x00\x00\x08free")
    told = "\n".join(after_fault(scene, box, before))
    assert "does not say what it is" in told
    assert "stands in its place damaged" in told
    shutil.rmtree(tmp_path / "elsewhere")
    assert "neither where it was nor here" in "\n".join(after_fault(scene, box, before))


def test_the_checks_see_a_half_report(project: Project, tmp_path: Path) -> None:
    scene = next(scene for scene in SCENES if scene.name == "verify-report")
    box = Box(tmp_path, "", tmp_path / "log")
    project.track(IDS[0], 0.1, 0.9)
    project.fetch()
    page = tmp_path / "report.html"
    project.run("verify", "--report", str(page)).exits(1)
    assert list(_outside(scene, box)) == []
    page.write_text(page.read_text()[:-300])
    assert list(_outside(scene, box)) == ["report.html is half"]


def test_the_quick_part_has_a_fault_of_every_scene() -> None:
    faults = [Fault(scene, "power", at) for scene in "abc" for at in range(9)]
    chosen = quick_part(faults, 4)
    assert [(fault.scene, fault.at) for fault in chosen] == [("a", 0), ("b", 0), ("c", 0), ("a", 1)]


def test_a_bit_flipped_in_a_clip_is_named_and_cut_again(served: Project) -> None:
    first, second = (served.clip(line) for line in served.lines if isinstance(line, dict))
    flip(first)
    kept = second.stat().st_mtime_ns
    served.run("verify", "--level", "checksum").exits(1).says(first.name)
    served.run("extract-tracks").exits(0)
    served.run("verify", "--level", "checksum").exits(0).says("complete")
    assert second.stat().st_mtime_ns == kept


def test_a_damaged_video_is_named_recorded_and_brought_again(served: Project) -> None:
    path = served.layout.video_target(IDS[0])
    whole = path.read_bytes()
    flip(path)
    for _ in range(2):
        served.run("verify", "--level", "checksum").exits(1).says("damaged video", path.name)
    served.run("extract-tracks").exits(0)
    assert path.read_bytes() != whole
    clips = {p: p.stat().st_mtime_ns for p in served.layout.tracks.rglob("*.mp4")}
    served.run("download-tracks").exits(0)
    assert path.read_bytes() == whole
    assert {p: p.stat().st_mtime_ns for p in clips} == clips
    served.run("verify", "--level", "checksum").exits(0).says("complete")


def test_nothing_is_cut_from_a_video_that_is_known_to_be_damaged(served: Project) -> None:
    line = served.lines[0]
    assert isinstance(line, dict)
    flip(served.layout.video_target(IDS[0]))
    served.run("verify", "--level", "checksum").exits(1)
    served.clip(line).unlink()
    served.run("extract-tracks").exits(1).says("video-damaged")
    assert not served.clip(line).exists()


@pytest.mark.parametrize("table", ["tracks", "videos", "refused", "duplicates"])
def test_a_bit_flipped_in_the_index_is_named_and_mended(served: Project, table: str) -> None:
    (path,) = (served.layout.index("Tiny")).glob(f"{table}-*.parquet")
    flip(path, 0.3)
    served.run("verify", "--level", "checksum").exits(2).says(path.name, "fetch-meta Tiny again")
    served.run("fetch-meta", "Tiny").exits(0)
    served.run("verify", "--level", "checksum").exits(0)


def test_a_bit_flipped_in_the_metadata_file_is_named(served: Project) -> None:
    path = served.layout.metadata / "Tiny.jsonl.gzip"
    flip(path, 0.5)
    served.run("verify").exits(0)
    served.run("verify", "--level", "checksum").exits(2).says(path.name, "fetch")


class ShiftedClock(SystemClock):
    """A clock that is off."""

    def __init__(self, by: float) -> None:
        self._by = by

    def time(self) -> float:
        return super().time() + self._by


@pytest.mark.parametrize("by", [-86_400.0, 86_400.0])
def test_a_record_counts_as_newer_than_what_it_follows_whatever_the_clock_says(
    tmp_path: Path, by: float
) -> None:
    layout = Layout(tmp_path)
    with Ledger(layout, "extract-tracks", 0, 1, "Tiny", ShiftedClock(max(0.0, by))) as ledger:
        ledger.clips(IDS[0], "r", [("t", 1, 1, "c")])
    known = read_ledger(layout)
    with Ledger(layout, "verify", 0, 1, "Tiny", ShiftedClock(min(0.0, by)), known=known) as ledger:
        ledger.track(IDS[0], "t", "r", "clip-damaged", "flipped")
    known = read_ledger(layout)
    assert (IDS[0], "t") in known.failures
    with Ledger(layout, "extract-tracks", 0, 1, "Tiny", known=known) as ledger:
        ledger.clips(IDS[0], "r", [("t", 2, 2, "d")])
        ledger.video(IDS[0], "present")
    after = read_ledger(layout)
    assert after.failures == {}
    assert after.clips[IDS[0], "t"].checksum == "d"


def test_what_a_killed_executor_leaves_is_known_to_clean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trackverse_local.notes import Notes

    named: list[str] = []
    real = Path.replace
    monkeypatch.setattr(Path, "replace", lambda a, b: (named.append(a.name), real(a, b))[1])
    Notes(tmp_path / "rank-0000.log").began(os.getpid())
    assert named
    assert all(is_temporary(name) for name in named)


def test_a_lack_of_memory_threads_or_files_is_told_from_an_items_fault() -> None:
    outer = ValueError("outer")
    outer.__cause__ = MemoryError()
    assert isinstance(lacking(outer), LacksError)
    assert "threads" in str(lacking(RuntimeError("can't start new thread")))
    assert "ulimit" in str(lacking(OSError(24, "Too many open files")))
    assert lacking(OSError(5, "Input/output error")) is None
    # What a server says must not end a rank.
    assert lacking(OSError("can't start new thread")) is None
    assert lacking(RuntimeError("HTTP: can't start new thread")) is None


def test_a_pool_that_gets_no_threads_says_so_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = ready_pool(3, "ready")
    assert sum(t.name.startswith("ready") for t in threading.enumerate()) == 3
    pool.shutdown()
    real, started = threading.Thread.start, [0]

    def start(thread: threading.Thread) -> None:
        started[0] += 1
        if started[0] > 1:
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(LacksError, match="threads"):
        ready_pool(3, "lacking")
