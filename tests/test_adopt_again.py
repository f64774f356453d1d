"""`adopt` once more: after damage, after a stop, and under a clock that was wrong."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.faults.box import flip
from tests.original import Script
from tests.project import Project
from tests.videos import make_video
from trackverse_cli.adopting.adopt import adopt
from trackverse_cli.adopting.counts import AdoptOptions
from trackverse_cli.clock import SystemClock
from trackverse_cli.config import load_config
from trackverse_cli.ledger import read_ledger

if TYPE_CHECKING:
    from pathlib import Path

VIDEO = "abcdefghijk"


class EarlyClock(SystemClock):
    """A clock that is a day ahead."""

    def time(self) -> float:
        return super().time() + 86_400.0


@pytest.fixture
def left(project: Project) -> Project:
    """What the scripts left in the root: a video with a good clip and one that lacks its tail."""
    make_video(project.layout.video_target(VIDEO), frames=60)
    for script in (Script(flushes=True), Script()):
        line = project.track(VIDEO, 0.2, 1.8)
        script.cut(project.layout.video_target(VIDEO), line, project.root)
    project.fetch()
    return project


def reasons(project: Project, level: str = "checksum") -> dict[str, int]:
    found: dict[str, int] = project.run("verify", "--level", level, "--json").json["reasons"]
    return found


def flip_tail(path: Path) -> None:
    """Turn one bit over where the pictures stay as they are: in a free box behind them."""
    with path.open("ab") as file:
        file.write(b"\x00\x00\x00\x0cfreeabcd")


def test_a_clip_that_changed_since_it_was_adopted_is_not_adopted_again(left: Project) -> None:
    padded = left.nth_clip(0)
    flip_tail(padded)
    left.run("adopt", str(left.root)).exits(1).says("1 adopted")
    flip(padded, 0.99999)
    assert reasons(left) == {"clip-damaged": 1, "lacks-tail": 1}
    left.run("adopt", str(left.root)).exits(1).says("another checksum than when it was adopted")
    assert reasons(left) == {"clip-damaged": 1, "lacks-tail": 1}
    left.run("extract-tracks").exits(0)
    assert reasons(left) == {"lacks-tail": 1}


def test_a_video_that_changed_since_it_was_adopted_is_not_adopted_again(left: Project) -> None:
    video = left.layout.video_target(VIDEO)
    flip_tail(video)
    left.run("adopt", str(left.root)).exits(1).says("videos: 1 adopted")
    whole = video.read_bytes()
    flip(video, 0.99999)
    left.run("verify", "--level", "checksum").exits(1).says("damaged video")
    left.run("adopt", str(left.root)).exits(1).says("another checksum than when it came")
    left.run("verify", "--level", "checksum").exits(1).says("damaged video")
    video.write_bytes(whole)
    left.run("adopt", str(left.root)).exits(1).says("videos: 1 adopted")
    assert read_ledger(left.layout).videos[VIDEO].state == "present"


def test_a_record_counts_though_the_clock_was_ahead_before(left: Project) -> None:
    config = load_config(None, {"dataset.root": left.root})
    adopt(config, left.root, AdoptOptions(), clock=EarlyClock())
    assert reasons(left, "presence") == {"lacks-tail": 1}
    adopt(config, left.root, AdoptOptions(redo=True))
    assert reasons(left, "presence") == {"clip-damaged": 1}


@pytest.mark.parametrize("recorded", [False, True])
def test_a_move_that_was_stopped_goes_on_with_its_video(
    left: Project, tmp_path: Path, recorded: bool
) -> None:
    (tmp_path / "new").mkdir()
    new = Project(tmp_path / "new", lines=left.lines)
    new.fetch()
    theirs, own = left.layout.video_target(VIDEO), new.layout.video_target(VIDEO)
    if recorded:
        new.run("adopt", str(left.root)).exits(1)
    else:  # killed between the rename and the record
        own.parent.mkdir(parents=True)
        shutil.copy(theirs, own)
    new.run("adopt", "--move", str(left.root)).exits(1)
    assert not theirs.exists()
    entry = read_ledger(new.layout).videos[VIDEO]
    assert (entry.state, entry.bytes, bool(entry.checksum)) == ("present", own.stat().st_size, True)
    assert not left.nth_clip(0).exists()
    assert left.nth_clip(1).exists()


def test_a_move_keeps_a_video_that_is_another_here(left: Project, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    new = Project(tmp_path / "new", lines=left.lines)
    make_video(new.layout.video_target(VIDEO), frames=61)
    new.fetch()
    new.run("adopt", "--move", str(left.root)).exits(1)
    assert left.layout.video_target(VIDEO).exists()
