"""`adopt` on folders that mean harm, or that a later version wrote."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import av
import pytest

from tests.original import Script
from tests.project import Project

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

VIDEO = "abcdefghijk"


@pytest.fixture
def old(tmp_path: Path) -> Project:
    """One good clip of one video."""
    project = Project(tmp_path / "old")
    line = project.track(VIDEO, 0.2, 1.4)
    Script(flushes=True).cut(project.video(VIDEO, frames=50), line, project.root)
    return project


@pytest.fixture
def new(old: Project, tmp_path: Path) -> Project:
    (tmp_path / "new").mkdir()
    project = Project(tmp_path / "new", lines=old.lines)
    project.fetch()
    return project


def clip(project: Project) -> Path:
    line = project.lines[0]
    assert isinstance(line, dict)
    return project.clip(line)


def told_of(project: Project, folder: Path, *words: str) -> dict[str, Any]:
    return project.run("adopt", str(folder), "--json", *words).json


def as_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def as_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def as_nothing(path: Path) -> None:
    path.write_bytes(b"")


def as_playlist(path: Path) -> None:
    path.write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n")


def as_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def as_giant(path: Path) -> None:
    os.truncate(path, 1 << 40)


BAD = [as_link, as_pipe, as_folder, as_nothing, as_playlist, as_half]


@pytest.mark.parametrize("spoil", [*BAD, as_giant])
def test_a_clip_that_is_none(old: Project, new: Project, spoil: Callable[[Path], None]) -> None:
    spoil(clip(old))
    told = told_of(new, old.root, "--move")
    assert told["clips"] == {"adopted": 0, "there": 0, "absent": 0, "left_out": 1}
    assert told["reasons"] == {"clip-damaged": 1}
    assert not clip(new).exists()
    assert os.path.lexists(clip(old))
    assert new.half_written() == []


@pytest.mark.parametrize("spoil", BAD)
def test_a_video_that_is_none(old: Project, new: Project, spoil: Callable[[Path], None]) -> None:
    spoil(old.layout.video_target(VIDEO))
    told = told_of(new, old.root)
    assert told["videos"]["left_out"] == 1
    assert told["clips"]["left_out"] == 1
    assert not list(new.layout.videos.rglob("*.mp4"))
    told = told_of(new, old.root, "--without-video")
    assert (told["clips"]["adopted"], told["unproven"]) == (1, 1)


def test_in_place_a_link_gives_way_to_a_clip(old: Project) -> None:
    old.fetch()
    outside = old.folder / "precious"
    clip(old).rename(outside)
    before = outside.read_bytes()
    clip(old).symlink_to(outside)
    assert told_of(old, old.root)["reasons"] == {"clip-damaged": 1}
    old.run("extract-tracks").exits(0)
    assert outside.read_bytes() == before
    assert not clip(old).is_symlink()
    old.run("verify").exits(0)


def test_folders_that_lead_out(old: Project, new: Project) -> None:
    inner = clip(old).parent
    shutil.move(inner, old.folder / "outside")
    inner.symlink_to(old.folder / "outside")
    assert told_of(new, old.root)["reasons"] == {"refused-name": 1}
    inner.unlink()
    shutil.move(old.folder / "outside", inner)
    # The same trap on the side that takes.
    clip(new).parent.parent.mkdir(parents=True)
    trap = old.folder / "trap"
    trap.mkdir()
    clip(new).parent.symlink_to(trap)
    shutil.rmtree(new.layout.videos)
    new.layout.videos.mkdir()
    (new.layout.videos / VIDEO[:2]).symlink_to(trap)
    assert told_of(new, old.root)["reasons"] == {"refused-name": 2}
    assert list(trap.iterdir()) == []


def test_names_and_lists_that_mean_harm(old: Project, new: Project) -> None:
    (old.root / "\x1b[31mred\n").write_text("")
    (old.root / "downloaded.txt").symlink_to("/etc/passwd")
    new.run("adopt", str(old.root)).exits(0).says("\\x1b[31mred\\n")
    assert told_of(new, old.root)["around"]["downloaded_txt"] is None
    (old.root / "downloaded.txt").unlink()
    (old.root / "downloaded.txt").write_bytes(b"../../../etc/passwd\n\xff\n" + b"x" * 100_000)
    assert told_of(new, old.root)["around"]["downloaded_txt"] == 0


def test_a_clip_of_something_else(old: Project, new: Project) -> None:
    other = Project(old.folder / "other", lines=old.lines)
    video = other.video(VIDEO, frames=50, draw=lambda at, w, h: _stripes(w, h))
    line = old.lines[0]
    assert isinstance(line, dict)
    Script(flushes=True).cut(video, line, old.root)
    told = told_of(new, old.root)
    assert told["reasons"] == {"wrong-crop": 1}


def _stripes(width: int, height: int) -> Any:
    import numpy as np

    picture = np.zeros((height, width, 3), np.uint8)
    picture[:, :: max(1, width // 9)] = 255
    picture[: height // 3] = 90
    return picture


@pytest.mark.parametrize("head", [2, 0, "1", None, 10**30])
def test_a_ledger_of_another_format(old: Project, new: Project, head: Any) -> None:
    old.layout.ledger.mkdir()
    path = old.layout.ledger / "20990101T000000Z-x.jsonl"
    path.write_text(json.dumps({"kind": "run", "schema": head, "more": []}) + "\n")
    answer = new.run("adopt", str(old.root)).exits(2).says(str(path), "this trackverse knows 1")
    assert answer.err.count("\n") == 1
    assert not new.layout.tracks.exists()


def test_an_index_of_a_later_format(old: Project, new: Project) -> None:
    folder = old.layout.index("Tiny")
    folder.mkdir(parents=True)
    (folder / "index.json").write_text('{"schema": 9}')
    new.run("adopt", str(old.root)).exits(2).says("index.json has format '9'")


def test_a_clip_of_a_later_format(old: Project, new: Project) -> None:
    again = clip(old).with_name("again.mp4")
    with av.open(str(clip(old))) as source, av.open(str(again), "w") as out:
        out.metadata["comment"] = json.dumps({"format": "trackverse-clip-2"})
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    again.rename(clip(old))
    told = told_of(new, old.root)
    assert told["reasons"] == {"other-recipe": 1}
    assert "trackverse-clip-2" in told["left_out"][0]["message"]


def test_folders_that_cannot_be_meant(old: Project, new: Project, tmp_path: Path) -> None:
    new.run("adopt", str(tmp_path / "nosuch")).exits(2).says("neither tracks_mp4 nor videos_mp4")
    new.run("adopt", str(old.layout.tracks)).exits(2).says(f"name {old.root}")
    nested = new.layout.tracks / "tracks_mp4"
    nested.mkdir(parents=True)
    new.run("adopt", str(new.layout.tracks)).exits(2).says("lie inside each other")


def test_one_folder_inside_the_other(old: Project, new: Project, tmp_path: Path) -> None:
    inside = new.root / "before"
    shutil.copytree(old.root, inside)
    assert told_of(new, inside)["clips"]["adopted"] == 1
    around = Project(tmp_path / "around", lines=old.lines)
    shutil.copytree(old.root, around.folder)
    around.fetch()
    assert told_of(around, around.folder)["clips"]["adopted"] == 1


def test_tops_that_are_links_of_the_users(old: Project, new: Project) -> None:
    new.layout.tracks.symlink_to(old.layout.tracks)
    new.layout.videos.symlink_to(old.layout.videos)
    told = told_of(new, old.root)
    assert (told["in_place"], told["how"], told["clips"]["adopted"]) == (True, {}, 1)
    new.run("verify").exits(0)


def test_a_folder_that_can_only_be_read(old: Project, new: Project) -> None:
    for path in (clip(old).parent, old.layout.video_target(VIDEO).parent):
        path.chmod(0o500)
    try:
        assert told_of(new, old.root)["clips"]["adopted"] == 1
    finally:
        for path in (clip(old).parent, old.layout.video_target(VIDEO).parent):
            path.chmod(0o700)
