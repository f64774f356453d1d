"""`merge`: two roots into one, nothing taken that is not what it claims to be."""

from __future__ import annotations

import errno
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.project import Project
from trackverse_cli.errors import StorageFullError
from trackverse_cli.ledger import Ledger, read_ledger
from trackverse_cli.merging.carry import Carrier
from trackverse_cli.outputs import Member, ShardIndex, ShardWriter, shards_folder
from trackverse_cli.probe import read_clip

if TYPE_CHECKING:
    from pathlib import Path

VIDEOS = ("abcdefghijk", "zyxwvutsrqp")
GONE = "-gone-for-1"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Four clips of two videos, and a track of a video that nobody has."""
    project = Project(tmp_path_factory.mktemp("whole"))
    for video_id in VIDEOS:
        project.video(video_id, frames=60)
        project.track(video_id, 0.2, 1.0)
        project.track(video_id, 0.8, 2.0)
    project.track(GONE, 0.2, 1.0)
    project.fetch()
    project.run("extract-tracks")
    return project


def copy_of(whole: Project, folder: Path, *, videos: bool = False) -> Project:
    shutil.copytree(whole.root, folder / "root")
    project = Project(folder, lines=whole.lines)
    shutil.rmtree(project.layout.state, ignore_errors=True)
    if not videos:
        shutil.rmtree(project.layout.videos)
    return project


@pytest.fixture
def ours(whole: Project, tmp_path: Path) -> Project:
    return copy_of(whole, tmp_path / "ours")


@pytest.fixture
def theirs(whole: Project, tmp_path: Path) -> Project:
    return copy_of(whole, tmp_path / "theirs")


def clip(project: Project, number: int) -> Path:
    line = project.lines[number]
    assert isinstance(line, dict)
    return project.clip(line)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def states(project: Project) -> dict[str, int]:
    found: dict[str, int] = project.run("verify", "--level", "decode", "--json").json["clips"]
    return found


def merge(project: Project, other: Project, *words: str) -> dict[str, Any]:
    return project.run("merge", str(other.root), "--json", *words).json


def test_two_half_complete_roots_with_one_damaged_clip_each(
    whole: Project, ours: Project, theirs: Project
) -> None:
    # Ours: 0 sound, 1 damaged; theirs: 1 and 2 sound, 3 damaged. Nobody has 3 whole, or the fifth.
    for path in (clip(ours, 2), clip(ours, 3), clip(theirs, 0)):
        path.unlink()
    flip(clip(ours, 1))
    flip(clip(theirs, 3))
    answer = ours.run("merge", str(theirs.root)).exits(1)
    answer.says("1 brought, 1 replaced", "left out: Tiny/zy", "another checksum")
    assert states(ours) == {
        "expected": 5, "complete": 3, "missing": 2, "damaged": 0, "unrecoverable": 0,
    }  # fmt: skip
    for number in (0, 1, 2):
        assert clip(ours, number).read_bytes() == clip(whole, number).read_bytes()
    assert not clip(ours, 3).exists()
    assert ours.half_written() == []


def test_it_can_be_done_again(ours: Project, theirs: Project) -> None:
    clip(ours, 0).unlink()
    first = merge(ours, theirs)["roots"][0]
    assert first["clips"] == {"brought": 1, "replaced": 0, "there": 3, "left_out": 0}
    assert sum(first["how"].values()) == 1
    before = sorted(path.name for path in ours.layout.ledger.iterdir())
    second = merge(ours, theirs)["roots"][0]
    assert second["clips"] == {"brought": 0, "replaced": 0, "there": 4, "left_out": 0}
    assert second["bytes"] == 0
    assert sorted(path.name for path in ours.layout.ledger.iterdir()) == before
    assert list(ours.layout.state.glob("verify-*")) == []
    assert states(ours)["complete"] == 4


def test_a_dry_run_writes_nothing(ours: Project, theirs: Project) -> None:
    clip(ours, 0).unlink()
    flip(clip(theirs, 0))
    clip(ours, 1).unlink()
    before = {path: path.stat().st_mtime_ns for path in ours.root.rglob("*")}
    told = merge(ours, theirs, "--dry-run")
    assert told["dry_run"] is True
    assert told["roots"][0]["clips"] == {"brought": 1, "replaced": 0, "there": 2, "left_out": 1}
    assert told["roots"][0]["reasons"] == {"clip-damaged": 1}
    assert {path: path.stat().st_mtime_ns for path in ours.root.rglob("*")} == before


def test_a_killed_merge_goes_on_where_it_was(
    ours: Project, theirs: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        clip(ours, number).unlink()
    for path in ours.layout.ledger.iterdir():
        path.unlink()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Ledger, "clips", killed)
    ours.run("merge", str(theirs.root)).exits(143)
    monkeypatch.undo()
    # Its clips stand and nothing is recorded of them, as after a kill -9.
    assert any(clip(ours, number).exists() for number in range(4))
    assert not read_ledger(ours.layout).clips
    told = merge(ours, theirs)["roots"][0]["clips"]
    assert told["brought"] + told["there"] == 4
    assert len(read_ledger(ours.layout).clips) == 4
    assert states(ours)["complete"] == 4


def test_clips_without_a_record_are_decoded(ours: Project, theirs: Project) -> None:
    shutil.rmtree(theirs.layout.ledger)
    clip(ours, 0).unlink()
    clip(ours, 1).unlink()
    damaged = clip(theirs, 1)
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size * 2 // 3])
    told = merge(ours, theirs)
    assert told["roots"][0]["clips"]["brought"] == 1
    assert told["left_out"][0]["reason"] == "clip-damaged"
    assert clip(ours, 0).exists()
    assert not clip(ours, 1).exists()


def test_another_recipe_is_left_out_unless_it_is_asked_for(
    whole: Project, ours: Project, tmp_path: Path
) -> None:
    other = copy_of(whole, tmp_path / "other", videos=True)
    shutil.rmtree(other.layout.tracks)
    other.env = {"TRACKVERSE_ENCODE__CRF": "30"}
    other.run("extract-tracks")
    clip(ours, 0).unlink()
    told = merge(ours, other, "--sources", "none")
    assert told["roots"][0]["reasons"] == {"other-recipe": 1}
    assert not clip(ours, 0).exists()
    told = merge(ours, other, "--any-recipe", "--sources", "none")
    assert told["roots"][0]["clips"]["brought"] == 1
    assert clip(ours, 0).read_bytes() == clip(other, 0).read_bytes()
    assert states(ours)["damaged"] == 1


def test_videos_come_as_asked(whole: Project, ours: Project, tmp_path: Path) -> None:
    other = copy_of(whole, tmp_path / "other", videos=True)
    clip(ours, 0).unlink()
    clip(other, 0).unlink()
    assert merge(ours, other, "--sources", "none")["roots"][0]["videos"]["brought"] == 0
    assert merge(ours, other, "--sources", "needed")["roots"][0]["videos"]["brought"] == 1
    assert ours.layout.find_video(VIDEOS[0]) == ours.layout.video_target(VIDEOS[0])
    told = merge(ours, other)["roots"][0]["videos"]
    assert told == {"brought": 1, "replaced": 0, "there": 1, "left_out": 0}
    ours.run("extract-tracks")
    assert states(ours)["complete"] == 4
    ours.run("merge", str(other.root), "--sources", "some").exits(2).says("needed")


def test_a_damaged_video_is_left_out(whole: Project, ours: Project, tmp_path: Path) -> None:
    other = copy_of(whole, tmp_path / "other", videos=True)
    path = other.layout.video_target(VIDEOS[0])
    path.write_bytes(path.read_bytes()[:2000])
    told = merge(ours, other)
    assert told["roots"][0]["reasons"] == {"video-damaged": 1}
    assert told["left_out"][0]["what"] == VIDEOS[0]
    assert ours.layout.find_video(VIDEOS[0]) is None


def test_permanent_failures_are_carried_over(ours: Project, theirs: Project) -> None:
    recipe = next(iter(read_ledger(theirs.layout).clips.values())).recipe
    clip(ours, 3).unlink()
    clip(theirs, 3).unlink()
    with Ledger(theirs.layout, "download-tracks", 0, 1, "Tiny") as ledger:
        ledger.video(GONE, "failed", reason="permanent", message="Video unavailable")
        ledger.track(VIDEOS[1], "t0003", recipe, "beyond-end", "the video ends at 9.5 s", 77)
        ledger.track(VIDEOS[0], "t0000", recipe, "beyond-end", "but its clip is here", 77)
    assert merge(ours, theirs)["roots"][0]["failures"] == 2
    state = read_ledger(ours.layout)
    assert state.videos[GONE].reason == "permanent"
    assert state.failures[VIDEOS[1], "t0003"].source_bytes == 77
    assert states(ours)["unrecoverable"] == 2
    assert merge(ours, theirs)["roots"][0]["failures"] == 0


def test_moved_files_leave_the_other_root(ours: Project, theirs: Project) -> None:
    clip(ours, 0).unlink()
    flip(clip(theirs, 1))
    assert merge(ours, theirs, "--move")["roots"][0]["clips"]["brought"] == 1
    assert clip(ours, 0).exists()
    assert not clip(theirs, 0).exists()
    assert states(ours)["complete"] == 4


def test_links_in_the_other_root_are_not_followed(
    ours: Project, theirs: Project, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    for number in (0, 2):
        clip(ours, number).unlink()
        shutil.copy(clip(theirs, number), secret)
    clip(theirs, 0).unlink()
    clip(theirs, 0).symlink_to(secret / clip(theirs, 0).name)
    folder = clip(theirs, 2).parent
    shutil.rmtree(folder)
    folder.symlink_to(secret)
    told = merge(ours, theirs)
    assert told["roots"][0]["clips"]["brought"] == 0
    assert told["roots"][0]["reasons"]["clip-damaged"] == 1
    assert told["roots"][0]["reasons"]["refused-name"] >= 1
    assert not clip(ours, 0).exists()
    assert not clip(ours, 2).exists()


def test_a_clip_under_a_wrong_name_is_left_out(ours: Project, theirs: Project) -> None:
    shutil.rmtree(theirs.layout.ledger)
    clip(ours, 0).unlink()
    shutil.copy(clip(theirs, 1), clip(theirs, 0))
    told = merge(ours, theirs)
    assert told["left_out"][0]["reason"] == "clip-damaged"
    assert "shows track" in told["left_out"][0]["message"]
    assert ".tv-" not in told["left_out"][0]["message"]


def test_a_root_that_is_none_or_the_same(ours: Project, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    ours.run("merge", str(tmp_path / "empty")).exits(2).says("is no dataset folder")
    ours.run("merge", str(ours.root)).exits(2).says("itself")
    alias = tmp_path / "alias"
    alias.mkdir()
    (alias / "tracks_mp4").symlink_to(ours.layout.tracks)
    ours.run("merge", str(alias), "--move").exits(2).says("itself")


def test_a_root_on_read_only_media(ours: Project, theirs: Project) -> None:
    clip(ours, 0).unlink()
    before = {path: path.stat().st_mtime_ns for path in theirs.root.rglob("*")}
    assert merge(ours, theirs)["roots"][0]["clips"]["brought"] == 1
    assert {path: path.stat().st_mtime_ns for path in theirs.root.rglob("*")} == before


def shards_of(project: Project, run: str, numbers: tuple[int, ...]) -> None:
    with ShardWriter(shards_folder(project.layout), "extract-tracks", 0, 1, run) as writer:
        for number in numbers:
            line, path = project.lines[number], clip(project, number)
            assert isinstance(line, dict)
            facts = read_clip(path)
            assert facts.origin is not None
            name = (line["yid"], line["track_id"], line["track_mp4_filename"])
            writer.add(path, Member(*name, 7, "disc", facts.frames, facts.origin.recipe))
            path.unlink()


def test_clips_in_shards_come_as_files_or_into_shards(
    whole: Project, ours: Project, theirs: Project
) -> None:
    shards_of(theirs, "0123456789ab", (0, 1, 2, 3))
    clip(ours, 0).unlink()
    assert merge(ours, theirs)["roots"][0]["clips"]["brought"] == 1
    assert clip(ours, 0).read_bytes() == clip(whole, 0).read_bytes()
    # Now ours keeps shards as well, one clip of them damaged, one lacking.
    clip(ours, 3).unlink()
    shards_of(ours, "ba9876543210", (0, 1, 2))
    place = ShardIndex.load(ours.layout).find(VIDEOS[0], "t0001")
    assert place is not None
    with place.shard.open("r+b") as file:
        file.seek(place.offset + place.size // 2)
        file.write(bytes(50))
    told = merge(ours, theirs)["roots"][0]["clips"]
    assert told == {"brought": 1, "replaced": 1, "there": 2, "left_out": 0}
    index = ShardIndex.load(ours.layout)
    assert len(index) == 4
    assert index.superseded() == {}
    assert sorted(ours.layout.tracks.rglob("*.mp4")) == []
    assert len(read_ledger(ours.layout).clips) == 4
    assert [p for p in shards_folder(ours.layout).iterdir() if p.name.startswith(".")] == []


def test_a_full_disk_says_so_and_leaves_nothing_half(
    ours: Project, theirs: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip(ours, 0).unlink()

    def full(*_: object, **__: object) -> str:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(Carrier, "bring", full)
    ours.run("merge", str(theirs.root)).exits(StorageFullError.exit_code).says("is full")
    assert ours.half_written() == []


def test_a_copy_where_nothing_can_be_shared(
    ours: Project, theirs: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, "another file system")

    monkeypatch.setattr(os, "link", refused)
    monkeypatch.setattr("trackverse_cli.merging.carry.fcntl.ioctl", refused)
    clip(ours, 0).unlink()
    assert merge(ours, theirs)["roots"][0]["how"] == {"copy": 1}
    assert clip(ours, 0).stat().st_ino != clip(theirs, 0).stat().st_ino
    assert states(ours)["complete"] == 4


def test_names_are_printed_as_text(ours: Project, tmp_path: Path) -> None:
    odd = tmp_path / "o\x1b[31mdd"
    odd.mkdir()
    (odd / "tracks_mp4").mkdir()
    answer = ours.run("merge", str(odd)).exits(0)
    assert "\x1b" not in answer.out
