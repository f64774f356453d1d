"""What `clean` removes, and all that it leaves."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from trackverse_cli.ledger import Ledger, read_ledger
from trackverse_cli.walk import files_below, files_in

if TYPE_CHECKING:
    from pathlib import Path

    from tests.project import Project

ID, OTHER = "abcdefghijk", "-bcdefghijk"
DAY = 86_400.0
TEMPORARY = ".tv-0123456789abcdef.tmp"


def put(path: Path, days: float = 0.0, content: bytes = b"12345") -> Path:
    """Write a file that was last used so many days ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    then = time.time() - days * DAY
    os.utime(path, (then, then))
    return path


def tree(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Return what is there: path -> (mode, size, time of the last change)."""
    found = {}
    for path in sorted(folder.rglob("*")):
        facts = path.lstat()
        size = 0 if path.is_dir() else facts.st_size
        changed = 0 if path.is_dir() else facts.st_mtime_ns
        found[str(path.relative_to(folder))] = (facts.st_mode, size, changed)
    return found


@pytest.fixture
def lived_in(project: Project) -> Project:
    """A root with everything that may go, and its neighbours that may not."""
    layout = project.layout
    put(layout.partial / f"{ID}.mp4.part", 9)
    put(layout.partial / f"{OTHER}.f137.mp4.part-Frag12", 2)
    put(layout.partial / f"{OTHER}.mp4.ytdl", 2)
    put(layout.video_target(OTHER), 100)
    put(layout.tracks / "A" / "ab" / TEMPORARY, 2)
    put(layout.root / TEMPORARY, 2)
    put(layout.root / "index" / "Tiny" / TEMPORARY, 2)
    put(layout.state / "selection-0123456789abcdef.npz", 31)
    put(layout.state / "verify-0123456789abcdef.bin", 31)
    for _ in range(3):
        with Ledger(layout, "download-tracks", 0, 1, "Tiny") as record:
            record.video(ID, "failed", reason="transient", message="no")
            record.clips(OTHER, "r", [("t", 1, 2, "x")])
    for path in layout.ledger.iterdir():
        put(path, 0.1, path.read_bytes())
    return project


GOES = {
    f"videos_mp4/.partial/{ID}.mp4.part",
    f"videos_mp4/.partial/{OTHER}.f137.mp4.part-Frag12",
    f"videos_mp4/.partial/{OTHER}.mp4.ytdl",
    f"tracks_mp4/A/ab/{TEMPORARY}",
    TEMPORARY,
    f"index/Tiny/{TEMPORARY}",
    "state/selection-0123456789abcdef.npz",
    "state/verify-0123456789abcdef.bin",
}


def test_what_may_go_goes_and_nothing_else(lived_in: Project) -> None:
    layout = lived_in.layout
    for path, days in (
        (layout.partial / "ABCDEFGHIJK.mp4.part", 6.5),  # may go on where it stopped
        (layout.partial / "notes", 900),
        (layout.partial / "folder" / f"{ID}.mp4.part", 900),
        (layout.partial / TEMPORARY, 0.5),
        (layout.videos / "x.part", 900),
        (layout.tracks / "A" / "ab" / "clip.mp4", 900),
        (layout.tracks / "A" / TEMPORARY, 0.9),
        (layout.tracks / "A" / ".tv-0123.tmp", 900),
        (layout.tracks / "A" / "mine.tmp", 900),
        (layout.root / "mine" / TEMPORARY, 900),
        (layout.root / "notes.toml", 900),
        (layout.state / "selection-0123456789abcde0.npz", 29),
        (layout.state / "selection-mine.npz", 900),
        (layout.state / "deep" / "selection-0123456789abcdef.npz", 900),
        (layout.metadata / "Tiny.jsonl.gzip", 900),
        (layout.logs / "a" / "0.log", 900),
        (layout.ledger / "notes.txt", 900),
    ):
        put(path, days)
    before, record = tree(layout.root), read_ledger(layout)
    lived_in.run("clean").exits(0).says(
        "unfinished downloads: 3 removed", "leftovers of killed runs: 3 removed",
        "old selections and interrupted checks: 2 removed", "ledger files: 3 compacted",
    )  # fmt: skip
    after = tree(layout.root)
    ledgers = {name for name in before if name.startswith("ledger/") and name.endswith("jsonl")}
    assert before.keys() - after.keys() == GOES | ledgers
    [new] = after.keys() - before.keys()
    assert new.startswith("ledger/")
    assert "-compact-" in new
    assert all(after[name] == before[name] for name in before.keys() & after.keys())
    assert read_ledger(layout) == record
    lived_in.run("clean").exits(0).says("ledger files: 0 compacted")
    assert tree(layout.root) == after


def test_a_dry_run_tells_and_removes_nothing(lived_in: Project) -> None:
    before = tree(lived_in.root)
    told = lived_in.run("clean", "--dry-run").exits(0)
    told.says("3 would go, 15 bytes", "3 would be compacted", "9.0 days old (partial)")
    for name in GOES:
        assert name in told.out
    assert tree(lived_in.root) == before


def test_the_counts_as_json(lived_in: Project) -> None:
    size = sum(path.stat().st_size for path in lived_in.layout.ledger.iterdir())
    kinds = {
        "partial": {"files": 3, "bytes": 15},
        "temporary": {"files": 3, "bytes": 15},
        "state": {"files": 2, "bytes": 10},
        "ledger": {"files": 3, "bytes": size},
    }
    assert lived_in.run("clean", "--dry-run", "--json").exits(0).json == {
        "schema": 1, "dry_run": True, "kinds": kinds,
        "compacted": {"file": None, "bytes": 0, "running": 0}, "refused": [],
    }  # fmt: skip
    done = lived_in.run("clean", "--json").exits(0).json
    [new] = lived_in.layout.ledger.iterdir()
    assert done == {
        "schema": 1, "dry_run": False, "kinds": kinds,
        "compacted": {"file": new.name, "bytes": new.stat().st_size, "running": 0}, "refused": [],
    }  # fmt: skip


def test_the_age_of_unfinished_downloads_is_set(project: Project) -> None:
    path = put(project.layout.partial / f"{ID}.mp4.part", 2)
    project.run("clean").exits(0)
    assert path.exists()
    project.run("clean", "--partial-days", "1.5").exits(0)
    assert not path.exists()


def test_a_video_that_is_on_its_way_again_is_not_disturbed(project: Project) -> None:
    put(project.layout.video_target(ID))
    path = put(project.layout.partial / f"{ID}.mp4.part", 0.01)
    with Ledger(project.layout, "download-videos", 0, 1, "Tiny"):
        project.run("clean").exits(0).says("1 of runs that may go on stay")
        assert path.exists()
        put(path, 0.1)
        project.run("clean").exits(0)
        assert not path.exists()


def test_no_link_is_followed_or_removed(lived_in: Project, tmp_path: Path) -> None:
    layout, outside = lived_in.layout, tmp_path / "outside"
    put(outside / TEMPORARY, 900)
    put(outside / "deep" / TEMPORARY, 900)
    put(outside / f"{ID}.mp4.part", 900)
    put(outside / "selection-0123456789abcdef.npz", 900)
    links = (
        layout.tracks / "A" / "out", layout.videos / "ab", layout.state / "out",
        layout.ledger / "out", layout.root / "index" / "Out", layout.root / "more",
    )  # fmt: skip
    for link in links:
        link.symlink_to(outside)
    (layout.partial / f"{ID}.webm.part").symlink_to(outside / f"{ID}.mp4.part")
    (layout.tracks / ".tv-fedcba9876543210.tmp").symlink_to(outside / TEMPORARY)
    (layout.state / "selection-fedcba9876543210.npz").symlink_to(outside / TEMPORARY)
    (layout.tracks / "A" / "round").symlink_to("..")
    before = tree(outside)
    planted = {name for name in tree(lived_in.root) if (lived_in.root / name).is_symlink()}
    lived_in.run("clean").exits(0).says("leftovers of killed runs: 3 removed")
    assert tree(outside) == before
    assert planted <= tree(lived_in.root).keys()


def test_a_folder_of_unfinished_downloads_that_is_a_link_is_left_alone(
    project: Project, tmp_path: Path
) -> None:
    path = put(tmp_path / "outside" / f"{ID}.mp4.part", 900)
    project.layout.videos.mkdir(parents=True)
    project.layout.partial.symlink_to(path.parent)
    project.run("clean").exits(0).says("unfinished downloads: 0 removed")
    assert path.exists()


def test_top_folders_may_be_on_another_disk(project: Project, tmp_path: Path) -> None:
    other = tmp_path / "scratch"
    project.root.mkdir()
    for name in ("videos_mp4", "tracks_mp4", "state", "ledger"):
        (other / name).mkdir(parents=True)
        (project.root / name).symlink_to(other / name)
    layout = project.layout
    gone = [
        put(layout.partial / f"{ID}.mp4.part", 9),
        put(layout.tracks / "A" / TEMPORARY, 2),
        put(layout.state / "selection-0123456789abcdef.npz", 31),
    ]
    told = project.run("clean").exits(0)
    told.says("downloads: 1 removed", "runs: 1 removed", "checks: 1 removed")
    assert not any(path.exists() for path in gone)
    assert layout.tracks.is_symlink()


def test_a_folder_swapped_for_a_link_leads_nowhere(tmp_path: Path) -> None:
    put(tmp_path / "outside" / TEMPORARY)
    put(tmp_path / "top" / "sub" / TEMPORARY)
    expected = (tmp_path / "top" / "sub").lstat()
    (tmp_path / "top" / "sub").rename(tmp_path / "away")
    (tmp_path / "top" / "sub").symlink_to(tmp_path / "outside")
    assert list(files_in(tmp_path / "top" / "sub", str)) == []
    (tmp_path / "top" / "sub").unlink()
    put(tmp_path / "top" / "sub" / TEMPORARY)
    assert list(files_in(tmp_path / "top" / "sub", str, expected)) == []
    assert [name for *_, name, _ in files_below(tmp_path / "top", str)] == [TEMPORARY]


def test_folders_in_folders_without_end(project: Project) -> None:
    folder = project.layout.tracks
    folder.mkdir(parents=True)
    for _ in range(1200):
        folder /= "a"
        folder.mkdir()
    deep = put(folder / TEMPORARY, 2)
    project.run("clean").exits(0).says("leftovers of killed runs: 1 removed")
    assert not deep.exists()
    while folder != project.layout.tracks:  # what removes trees goes down by recursion
        folder.rmdir()
        folder = folder.parent


def test_hostile_names_are_printed_harmlessly(project: Project) -> None:
    put(project.layout.partial / f"{ID}.\x1b[31m\n\udcff.part", 9)
    told = project.run("clean", "--dry-run").exits(0).says(r"\x1b[31m\n\udcff.part")
    assert "\x1b" not in told.out
    assert project.run("clean", "--json").exits(0).json["kinds"]["partial"]["files"] == 1


def test_what_cannot_be_removed_is_told(lived_in: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    unlink = os.unlink

    def refuse(path: str, **how: int) -> None:
        if "npz" in str(path) or "download-tracks" in str(path):
            raise PermissionError(13, "Permission denied")
        unlink(path, **how)

    monkeypatch.setattr(os, "unlink", refuse)
    record = read_ledger(lived_in.layout)
    done = lived_in.run("clean").exits(1)
    done.says("selection-0123456789abcdef.npz stays: Permission denied; ask its owner")
    done.says("checks: 1 removed")
    assert read_ledger(lived_in.layout) == record


def test_no_dataset_folder_is_a_mistake(project: Project) -> None:
    project.run("clean").exits(2).says("there is no dataset folder", "--root")
    assert not project.root.exists()


def test_verify_says_the_same_after_cleaning(project: Project) -> None:
    project.video(ID)
    project.track(ID, 0.5, 1.5)
    project.track(ID, 700.0, 701.0)
    project.fetch()
    project.run("extract-tracks")
    before = project.run("verify", "--json").json
    assert before["reasons"] == {"beyond-end": 1}
    for path in project.layout.ledger.iterdir():
        put(path, 0.1, path.read_bytes())
    project.run("clean").exits(0)
    assert project.run("verify", "--json").json == before
    project.run("extract-tracks").exits(0).says("there before")
