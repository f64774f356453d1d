"""`adopt`: what the original scripts left, taken over where it is good, named where it is not."""

from __future__ import annotations

import json
import os
import shutil
import signal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest

from tests.original import Script
from tests.project import Project
from tests.referee import frames_in_span, frames_of
from tests.videos import make_video
from trackverse_cli.adopting.adopt import adopt
from trackverse_cli.adopting.counts import AdoptOptions
from trackverse_cli.config import load_config
from trackverse_cli.errors import StoppedError, StorageFullError
from trackverse_cli.ledger import read_ledger
from trackverse_cli.merging.carry import Carrier
from trackverse_cli.outputs import FileSink

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FIRST, SECOND = "abcdefghijk", "-yxwvutsrqp"
GOOD, SHORT, STRAY = Script(flushes=True), Script(), Script(flushes=True, follows=False)


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """What the scripts left: both layouts of videos; good, short and stray clips, one not cut."""
    project = Project(tmp_path_factory.mktemp("left"))
    for video_id, script, first, last in (
        (FIRST, GOOD, 0.21, 2.4),
        (FIRST, SHORT, 0.5, 2.6),
        (SECOND, STRAY, 0.1, 3.9),
        (SECOND, GOOD, 1.03, 2.9),
        (SECOND, None, 2.0, 3.5),
    ):
        line = project.track(video_id, first, last)
        video = project.layout.videos / f"{video_id}.mp4"
        if video_id == FIRST:
            video = project.layout.video_target(video_id)
        if not video.exists():
            make_video(video, frames=110)
        if script is not None:
            script.cut(video, line, project.root)
    (project.root / "downloaded.txt").write_text(f"{FIRST}\nyoutube {SECOND}\nzzzzzzzzzzz\n?\n")
    (project.root / "progress_17.json").write_text("{}")
    (project.layout.videos / f"{FIRST}.f137.mp4.part").write_bytes(b"unfinished")
    return project


@pytest.fixture
def old(left: Project, tmp_path: Path) -> Project:
    """The folder itself, with an index."""
    shutil.copytree(left.root, tmp_path / "old" / "root")
    project = Project(tmp_path / "old", lines=left.lines)
    project.fetch()
    return project


@pytest.fixture
def new(left: Project, tmp_path: Path) -> Project:
    """A root of its own, with an index and nothing else."""
    (tmp_path / "new").mkdir()
    project = Project(tmp_path / "new", lines=left.lines)
    project.fetch()
    return project


def contents(folder: Path) -> dict[str, Any]:
    """Every file below a folder, with its bytes or where it points."""
    return {
        str(path.relative_to(folder)): str(path.readlink())
        if path.is_symlink()
        else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def told_of(project: Project, folder: Path, *words: str) -> dict[str, Any]:
    return project.run("adopt", str(folder), "--json", *words).json


def verified(project: Project, level: str = "decode") -> dict[str, Any]:
    return project.run("verify", "--level", level, "--json").json


def test_in_place_what_is_good_counts_and_what_is_not_is_named(old: Project) -> None:
    before = contents(old.layout.tracks) | contents(old.layout.videos)
    answer = old.run("adopt", str(old.root)).exits(1)
    frames = len(frames_of(old.nth_clip(1)))
    due = len(frames_in_span(old.layout.video_target(FIRST), 0.5, 2.5625))
    answer.says(
        "made by other scripts, in place", "clips: 2 adopted", "2 left out, 1 not there",
        "videos: 2 adopted", f"lacks its tail: {frames} of {due} frames are there",
        "does not show what is inside the track's box", "downloaded.txt names 3 videos, 1 of them",
        "1 unfinished downloads", "left alone: progress_17.json", "--redo has them cut again",
    )  # fmt: skip
    assert contents(old.layout.tracks) | contents(old.layout.videos) == before
    found = verified(old)
    assert found["clips"] == {
        "expected": 5, "complete": 2, "missing": 1, "damaged": 2, "unrecoverable": 0,
    }  # fmt: skip
    assert found["adopted"] == 2
    assert found["reasons"] == {"lacks-tail": 1, "wrong-crop": 1, "not-cut": 1}
    old.run("verify").says("2 of the complete clips were adopted")
    recorded = {key[1]: one.recipe for key, one in read_ledger(old.layout).clips.items()}
    assert recorded == {"t0000": "original", "t0003": "original"}
    assert {e.note for e in read_ledger(old.layout).videos.values()} == {"adopted"}


def test_what_fails_is_cut_again_only_on_request(old: Project) -> None:
    adopted, short = old.nth_clip(0).read_bytes(), old.nth_clip(1).read_bytes()
    told_of(old, old.root)
    old.run("extract-tracks").exits(0)
    assert old.nth_clip(1).read_bytes() == short
    assert verified(old)["reasons"] == {"lacks-tail": 1, "wrong-crop": 1}
    assert verified(old, "presence")["run_again"] == []
    old.run("show", "t0001").says("lacks-tail", "adopt --redo")
    again = told_of(old, old.root, "--redo")
    assert (again["marked"], again["clips"]["there"]) == (2, 3)
    assert old.nth_clip(1).read_bytes() == short, "it stays until the new clip is ready"
    for level in ("presence", "probe", "checksum"):
        found = verified(old, level)
        assert found["reasons"] == {"clip-damaged": 2}
        assert found["run_again"] == [0]
    old.run("extract-tracks").exits(0)
    found = verified(old)
    assert (found["complete"], found["adopted"]) == (True, 2)
    assert old.nth_clip(0).read_bytes() == adopted
    assert len(frames_of(old.nth_clip(1))) > 50


def test_one_retry_asks_for_them_too(old: Project) -> None:
    told_of(old, old.root)
    old.run("extract-tracks", "--retry", "lacks-tail").exits(0)
    assert verified(old)["reasons"] == {"wrong-crop": 1}


def test_it_is_done_once(old: Project) -> None:
    told_of(old, old.root)
    ledger = contents(old.layout.ledger)
    again = told_of(old, old.root)
    assert contents(old.layout.ledger) == ledger
    assert again["clips"] == {"adopted": 0, "there": 2, "absent": 1, "left_out": 2}
    assert again["videos"] == {"adopted": 0, "there": 2, "absent": 0, "left_out": 0}


def test_a_verify_before_changes_no_clip_and_spoils_nothing(old: Project) -> None:
    before = contents(old.layout.tracks)
    assert verified(old)["reasons"] == {"other-recipe": 4, "not-cut": 1}
    assert contents(old.layout.tracks) == before
    assert told_of(old, old.root)["clips"]["adopted"] == 2
    assert verified(old)["clips"]["complete"] == 2


def test_a_dry_run_writes_nothing(old: Project, new: Project) -> None:
    for project, marked in ((old, 2), (new, 0)):
        before = contents(old.folder), contents(new.folder)
        told = told_of(project, old.root, "--dry-run", "--redo", "--move")
        assert told["clips"]["adopted"] == 2
        assert (told["marked"], told["dry_run"]) == (marked, True)
        assert (contents(old.folder), contents(new.folder)) == before


def test_another_folder_is_shared_and_stays(old: Project, new: Project) -> None:
    before = contents(old.root)
    told = told_of(new, old.root)
    assert told["clips"] == {"adopted": 2, "there": 0, "absent": 1, "left_out": 2}
    assert sum(told["how"].values()) == 4
    assert told["around"] == {
        "clips": 4, "videos": 2, "downloaded_txt": 3, "downloaded_txt_missing": 1,
        "unfinished": 1, "others": ["progress_17.json"],
    }  # fmt: skip
    assert contents(old.root) == before
    assert new.nth_clip(0).read_bytes() == old.nth_clip(0).read_bytes()
    assert not new.nth_clip(1).exists()
    for video_id in (FIRST, SECOND):
        assert new.layout.video_target(video_id).exists()
    assert new.half_written() == []
    new.run("extract-tracks").exits(0)
    found = verified(new)
    assert (found["complete"], found["adopted"]) == (True, 2)


def test_copies_and_moves(old: Project, new: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Carrier, "_reflink", lambda *_: False)
    monkeypatch.setattr("trackverse_cli.merging.carry._link", lambda *_: False)
    short = old.nth_clip(1).read_bytes()
    told = told_of(new, old.root, "--move")
    assert told["how"] == {"copy": 4}
    assert not old.nth_clip(0).exists()
    assert old.nth_clip(1).read_bytes() == short
    assert list(old.layout.videos.rglob(f"{FIRST}.mp4")) == []
    assert verified(new)["clips"]["complete"] == 2


def test_a_stopped_run_goes_on(old: Project, new: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config(None, {"dataset.root": new.root}, {})
    store, stored = FileSink.store, list[str]()

    def stop_at_the_second(self: FileSink, temporary: Path, member: Any) -> Any:
        if stored:
            raise StoppedError(15)
        stored.append(member.clip_name)
        return store(self, temporary, member)

    monkeypatch.setattr(FileSink, "store", stop_at_the_second)
    with pytest.raises(StoppedError):
        adopt(config, old.root, AdoptOptions())
    monkeypatch.undo()
    assert new.half_written() == []
    assert len(list(new.layout.tracks.rglob("*.mp4"))) == 1
    told = adopt(config, old.root, AdoptOptions(move=True))
    assert told.clips["adopted"] + told.clips["there"] == 2
    assert not old.nth_clip(0).exists(), "what was here before the stop may go there as well"
    recorded = [t for e in new.ledger() if e["kind"] == "clips" for t, *_ in e["done"]]
    assert sorted(recorded) == ["t0000", "t0003"]


def test_a_full_disk_is_told_and_leaves_nothing(
    old: Project, new: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(None, {"dataset.root": new.root}, {})

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Carrier, "bring", full)
    with pytest.raises(StorageFullError):
        adopt(config, old.root, AdoptOptions())
    assert new.half_written() == []
    assert contents(new.layout.tracks) == {}


def test_ranks_share_it(old: Project, new: Project) -> None:
    parts = [told_of(new, old.root, "--rank", str(rank), "--world-size", "2") for rank in range(2)]
    assert [sum(part["clips"].values()) for part in parts] in ([2, 3], [3, 2])
    assert sum(part["clips"]["adopted"] for part in parts) == 2
    assert verified(new)["clips"]["complete"] == 2


def test_without_the_video_nothing_is_believed_unless_asked(old: Project, new: Project) -> None:
    shutil.rmtree(old.layout.videos)
    told = told_of(new, old.root)
    assert told["reasons"] == {"video-missing": 4}
    told = told_of(new, old.root, "--without-video")
    # What the pictures show cannot be told without the video; that the tail lacks can.
    assert told["clips"] == {"adopted": 3, "there": 0, "absent": 1, "left_out": 1}
    assert (told["unproven"], told["reasons"]) == (3, {"lacks-tail": 1})
    assert verified(new)["clips"]["complete"] == 3


def test_boxes_that_were_never_scaled(project: Project) -> None:
    line = project.track(FIRST, 0.2, 1.4, size=(640, 360), video_size=[360, 640])
    GOOD.cut(project.video(FIRST, frames=50), line, project.root)
    project.fetch()
    [one] = told_of(project, project.root)["left_out"]
    assert one["reason"] == "wrong-crop"
    assert "180x180 pixels where its boxes give 90x90" in one["message"]


@pytest.mark.parametrize(("rate", "adopted"), [(Fraction(30000, 1001), 1), (Fraction(57, 2), 0)])
def test_a_whole_rate_is_borne_for_half_a_frame(
    project: Project, rate: Fraction, adopted: int
) -> None:
    line = project.track(FIRST, 0.2, 2.4)
    GOOD.cut(project.video(FIRST, rate=rate, frames=80), line, project.root)
    project.fetch()
    told = told_of(project, project.root)
    assert told["clips"]["adopted"] == adopted
    assert adopted or "ms from their times" in told["left_out"][0]["message"]


def test_a_bit_that_flips_later_is_found_and_mended(old: Project) -> None:
    told_of(old, old.root)
    content = bytearray(old.nth_clip(0).read_bytes())
    content[len(content) // 2] ^= 1
    old.nth_clip(0).write_bytes(content)
    assert verified(old, "checksum")["reasons"]["clip-damaged"] == 1
    old.run("extract-tracks").exits(0)
    assert verified(old)["clips"]["complete"] == 3
    assert verified(old)["adopted"] == 1


def test_merge_carries_what_was_adopted(old: Project, new: Project) -> None:
    told_of(old, old.root)
    told = new.run("merge", str(old.root), "--json").json["roots"][0]
    assert told["clips"]["brought"] == 2
    found = verified(new)
    assert (found["clips"]["complete"], found["adopted"]) == (2, 2)


def test_clips_that_this_program_cut_keep_their_recipe(old: Project, new: Project) -> None:
    shutil.rmtree(old.layout.tracks)
    old.run("extract-tracks").exits(0)
    assert told_of(new, old.root, "--dry-run")["made_by"] == "trackverse"
    shutil.rmtree(old.layout.ledger)
    told = told_of(new, old.root)
    assert told["clips"]["adopted"] == 5
    found = verified(new)
    assert (found["complete"], found["adopted"]) == (True, 0)


def test_clips_of_other_settings_are_left(old: Project, new: Project) -> None:
    shutil.rmtree(old.layout.tracks)
    old.env["TRACKVERSE_ENCODE__CRF"] = "30"
    old.run("extract-tracks").exits(0)
    assert told_of(new, old.root)["reasons"] == {"other-recipe": 5}


def test_a_track_that_was_given_up_counts_when_its_video_comes(old: Project, new: Project) -> None:
    from trackverse_cli.ledger import Ledger

    with Ledger(new.layout, "download-videos", 0, 1, "Tiny") as ledger:
        ledger.video(FIRST, "failed", reason="permanent", message="gone")
    assert told_of(new, old.root)["videos"]["adopted"] == 2
    assert read_ledger(new.layout).videos[FIRST].state == "present"


def test_other_names_of_other_releases(old: Project, new: Project) -> None:
    flat = old.layout.tracks / old.nth_clip(0).name
    old.nth_clip(0).rename(flat)
    told = told_of(new, old.root)
    assert told["clips"]["adopted"] == 2
    told = told_of(old, old.root)
    assert told["clips"]["adopted"] == 2
    assert old.nth_clip(0).read_bytes() == flat.read_bytes()


def test_needed_videos(old: Project, new: Project) -> None:
    for number in (2, 3, 4):
        old.nth_clip(number).unlink(missing_ok=True)
    shutil.copy(old.nth_clip(0), old.nth_clip(1))  # not what it says; one good clip is left
    told = told_of(new, old.root, "--sources", "none")
    assert told["videos"]["adopted"] == 0
    told = told_of(new, old.root, "--sources", "needed", "--tracks", str(_only(new, 0)))
    assert told["videos"]["adopted"] == 0
    told = told_of(new, old.root, "--sources", "needed")
    assert told["videos"]["adopted"] == 2
    new.run("adopt", str(old.root), "--sources", "some").exits(2).says("known: all, needed, none")


def _only(project: Project, number: int) -> Path:
    path = project.folder / "only.txt"
    path.write_text(project.nth_clip(number).relative_to(project.layout.tracks).as_posix() + "\n")
    return path


def test_the_root_without_an_index_is_told_of_the_folders_metadata(
    old: Project, tmp_path: Path
) -> None:
    bare = Project(tmp_path / "bare")
    answer = bare.run("adopt", str(old.root)).exits(2)
    answer.says("fetch-meta", "Tiny.jsonl.gzip")


def test_json_is_all_there_is(old: Project) -> None:
    answer = old.run("adopt", str(old.root), "--json", "-v")
    assert json.loads(answer.out)["in_place"] is True


CALLS = ("link", "replace", "fsync", "write", "unlink", "mkdir")


def killed_at(number: int, root: Path, folder: Path, options: AdoptOptions) -> bool:
    """Adopt in a fork that is killed before its so-many-th change on disk; say whether it was."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    left = [number]

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*words: Any, **more: Any) -> Any:
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*words, **more)

        return call

    try:
        for name in CALLS:
            setattr(os, name, counted(getattr(os, name)))
        adopt(load_config(None, {"dataset.root": root, "extract.workers": 1}, {}), folder, options)
    finally:
        os._exit(0)


@pytest.mark.parametrize("number", [9, 20, 31, 42])
def test_killed_anywhere_it_goes_on(old: Project, new: Project, number: int) -> None:
    held = sorted(path.read_bytes() for path in old.root.rglob("*.mp4"))
    assert killed_at(number, new.root, old.root, AdoptOptions(move=True))
    kept = sorted(
        path.read_bytes()
        for project in (old, new)
        for path in {p.stat().st_ino: p for p in project.root.rglob("*.mp4")}.values()
    )
    assert set(kept) == set(held), "what went there is whole here"
    told = told_of(new, old.root, "--move")
    assert told["clips"]["adopted"] + told["clips"]["there"] == 2
    assert told["videos"]["adopted"] + told["videos"]["there"] == 2
    recorded = [t for e in new.ledger() if e["kind"] == "clips" for t, *_ in e["done"]]
    assert sorted(recorded) == ["t0000", "t0003"]
    assert verified(new, "checksum")["clips"]["complete"] == 2
