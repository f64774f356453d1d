"""Bad input, each with a sentence of its own, and nothing lost."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.project import Project

VIDEO = "abcdefghijk"


@pytest.fixture
def good(project: Project) -> Project:
    """A dataset with one video and one good track; not indexed yet."""
    project.video(VIDEO, frames=60)
    project.track(VIDEO, 0.2, 1.5)
    return project


def everything(root: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_no_dataset_folder(project: Project) -> None:
    project.env["TRACKVERSE_DB"] = ""
    project.run("verify").exits(2).says("no dataset folder is set", "--root", "config init")


def test_no_index(project: Project) -> None:
    for command in ("verify", "download-tracks", "extract-tracks", "download-videos", "submit"):
        project.run(command).exits(2).says("fetch-meta")
    assert not project.layout.ledger.exists()


def test_an_index_that_is_outdated(good: Project) -> None:
    good.fetch()
    good.track(VIDEO, 0.9, 2.0)
    good.write_metadata().replace(good.layout.metadata / "Tiny.jsonl.gzip")
    good.run("extract-tracks").exits(2).says("fetch-meta")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "empty"),
        (b"this is no gzip", "gzip"),
        (gzip.compress(b"")[:-4], "Bad.jsonl.gzip"),
        (gzip.compress(b'{"a": 1}\n' * 2000)[:-12], "line"),
        (gzip.compress(b"not json\n"), "line 1"),
    ],
    ids=["empty", "text", "cut short", "cut in the middle", "all bad"],
)
def test_unreadable_metadata_keeps_what_was_there(good: Project, content: bytes, told: str) -> None:
    good.fetch()
    before = everything(good.root)
    bad = good.folder / "Bad.jsonl.gzip"
    bad.write_bytes(content)
    outcome = good.run("fetch-meta", str(bad)).says(told)
    assert outcome.code in (1, 2)
    assert everything(good.root) == before


def test_no_such_file(project: Project) -> None:
    project.run("fetch-meta", "./nosuch.jsonl.gzip").exits(2).says("nosuch.jsonl.gzip")


def test_no_such_subset(project: Project) -> None:
    project.run("fetch-meta", "82K-CB10").exits(2).says("82K-CB100")


def test_odd_tracks_of_a_good_video(good: Project) -> None:
    """One sample, equal times, boxes partly outside: cut; NaN, far outside, after the end: not."""
    one = good.track(VIDEO, 0.5, 0.55)
    equal = good.track(VIDEO, 0.5, 0.7, frame_ts=[0.5, 0.5, 0.5, 1.0])
    partly = good.track(VIDEO, 0.2, 0.4)
    partly["frame_bboxes"] = [[-20.0, 10.0, 90.0, 90.0]] * len(partly["frame_ts"])
    late = good.track(VIDEO, 8.0, 9.0)
    outside = good.track(VIDEO, 0.2, 0.4)
    outside["frame_bboxes"] = [[9000.0, 10.0, 90.0, 90.0]] * len(outside["frame_ts"])
    nan = good.track(VIDEO, 0.2, 0.4)
    nan["frame_bboxes"][1] = [float("nan"), 1.0, 2.0, 3.0]
    good.run("fetch-meta", str(good.write_metadata())).exits(0).says("line 7: invalid-track")
    good.run("extract-tracks").exits(0).says("1 beyond-end", "1 geometry-mismatch", "4 cut")
    for line in (one, equal, partly):
        assert good.clip(line).is_file()
    for line in (late, outside, nan):
        assert not good.clip(line).exists()
    report = good.run("verify", "--level", "decode", "--json").exits(1).json
    assert report["clips"] == {
        "expected": 7, "complete": 4, "missing": 0, "damaged": 0, "unrecoverable": 3,
    }  # fmt: skip
    assert report["reasons"] == {"beyond-end": 1, "geometry-mismatch": 1, "invalid-track": 1}
    good.run("verify").says("9000", "320x180", "nothing is left")


@pytest.mark.parametrize(
    "name",
    [
        "../../x.mp4",
        "/etc/x.mp4",
        "a\nb.mp4",
        "a/../../x.mp4",
        "a\\b.mp4",
        "",
        "x" * 256,
        "a\0b.mp4",
    ],
)
def test_a_hostile_name_is_refused_and_recorded(good: Project, name: str) -> None:
    good.track(VIDEO, 0.2, 1.0, track_mp4_filename=name)
    good.run("fetch-meta", str(good.write_metadata())).exits(0).says("line 2: refused-name")
    outside = everything(good.folder)
    good.run("extract-tracks").exits(0)
    report = good.run("verify", "--json").exits(1).json
    assert report["reasons"] == {"refused-name": 1}
    new = [p for p in everything(good.folder) if p not in outside]
    assert all(p.startswith(str(good.root)) for p in new)


@pytest.mark.parametrize("video_id", ["../../../x", "short", "abcdefghij!", "abcdefghijk\n", ""])
def test_a_hostile_id_is_refused(good: Project, video_id: str) -> None:
    good.track(video_id, 0.2, 1.0, track_mp4_filename="x/y.mp4")
    good.run("fetch-meta", str(good.write_metadata())).exits(0).says("line 2: refused-name")
    good.run("verify", "--json").exits(1)


def test_a_planted_link_leads_nowhere(good: Project, tmp_path: Path) -> None:
    good.fetch()
    outside = tmp_path / "outside"
    outside.mkdir()
    good.layout.tracks.mkdir()
    (good.layout.tracks / "Tiny").symlink_to(outside)
    good.run("extract-tracks").exits(0).says("1 refused-name")
    assert list(outside.iterdir()) == []
    report = good.run("verify", "--json").exits(1).json
    assert report["reasons"] == {"refused-name": 1}


def test_an_id_that_begins_with_a_dash(project: Project) -> None:
    project.video("-rootisbad-", frames=60)
    line = project.track("-rootisbad-", 0.2, 1.5)
    project.fetch()
    project.run("extract-tracks").exits(0)
    assert project.clip(line).is_file()


def test_a_video_that_is_a_text_file(good: Project) -> None:
    good.fetch()
    source = good.layout.video_target(VIDEO)
    source.write_text("<html>you are not a robot</html>")
    good.run("extract-tracks").exits(1).says("video-damaged", str(source))
    report = good.run("verify", "--json").exits(1).json
    assert report["videos"]["damaged"] == 1
    assert report["reasons"] == {"video-damaged": 1}
    assert source.read_text().startswith("<html>")


@pytest.mark.parametrize(
    ("rank", "size"), [("3", "3"), ("-1", "2"), ("0", "0"), ("0", "5000"), ("x", "2")]
)
def test_a_rank_that_is_none(good: Project, rank: str, size: str) -> None:
    good.fetch()
    outcome = good.run("extract-tracks", "--rank", rank, "--world-size", size).exits(2)
    assert rank in outcome.err or size in outcome.err


def test_a_root_that_is_not_writable(good: Project) -> None:
    blocked = good.folder / "file"
    blocked.write_text("I am a file.")
    metadata = good.write_metadata()
    good.run("fetch-meta", str(metadata), "--root", str(blocked)).exits(2).says(str(blocked))
    good.run("fetch-meta", str(metadata), "--root", "/proc/none").exits(2).says("/proc/none")
    assert blocked.read_text() == "I am a file."


def test_duplicates_count_once(good: Project) -> None:
    good.lines.append(dict(good.lines[0]))  # type: ignore[arg-type]
    again: dict[str, Any] = dict(good.lines[0]) | {"track_id": "other"}  # type: ignore[arg-type]
    good.lines.append(again)
    good.run("fetch-meta", str(good.write_metadata())).exits(0).says("2 lines that repeat")
    good.run("extract-tracks").exits(0)
    report = good.run("verify", "--json").exits(0).json
    assert report["clips"]["expected"] == 1


def test_a_line_of_garbage_is_counted_with_its_number(good: Project) -> None:
    good.lines.insert(0, b"\xff\xfe{")
    good.lines.append(json.dumps([1, 2]).encode())
    good.run("fetch-meta", str(good.write_metadata())).exits(0).says("line 1:", "line 3:")
    report = good.run("verify", "--json").exits(1).json
    assert report["clips"]["expected"] == 3
    assert report["reasons"] == {"invalid-track": 2, "not-cut": 1}


def test_an_unknown_level_names_the_known_ones(good: Project) -> None:
    good.fetch()
    good.run("verify", "--level", "deep").exits(2).says("presence, probe, checksum, decode")


def test_an_unknown_stage_names_the_known_ones(good: Project) -> None:
    good.fetch()
    good.run("submit", "--stage", "extract").exits(2).says("extract-tracks")
