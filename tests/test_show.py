"""`show`: one item's whole story, also a hostile one's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from trackverse_cli.ledger import Ledger
from trackverse_cli.outputs import Member, ShardWriter, shards_folder
from trackverse_cli.story import Standing, next_step

if TYPE_CHECKING:
    from tests.project import Project

VIDEO, GONE = "abcdefghijk", "-gone-for-1"


@pytest.fixture
def lab(project: Project) -> Project:
    project.video(VIDEO, frames=60)
    project.track(VIDEO, 0.2, 1.4, video_size=[180, 320])
    project.track(VIDEO, 8, 9)
    project.track(GONE, 0.2, 1, track_id="odd [red]x")
    project.fetch()
    project.run("extract-tracks")
    return project


def line(project: Project, number: int) -> dict[str, Any]:
    one = project.lines[number]
    assert isinstance(one, dict)
    return one


def test_a_video(lab: Project) -> None:
    told = lab.run("show", VIDEO, "--json", "--world-size", "4").exits(0).json
    assert (told["schema"], told["kind"]) == (1, "video")
    (video,) = told["videos"]
    assert video["world_size"] == 4
    assert [clip["standing"]["reason"] for clip in video["clips"]] == ["", "beyond-end"]
    clip = video["clips"][0]
    assert (clip["boxes"], clip["labels"], clip["video_size"]) == (20, ["disc"], [180, 320])
    assert clip["files"][0]["matches"] is True
    assert clip["files"][0]["bytes"] == lab.clip(line(lab, 0)).stat().st_size
    kinds = [one["line"]["kind"] for one in video["ledger"]]
    assert kinds == ["clips", "track"]
    assert all(one["stage"] == "extract-tracks" and one["host"] for one in video["ledger"])
    assert video["next"].startswith("nothing: what is not there is gone")


@pytest.mark.parametrize("how", ["track", "name", "path", "whole path"])
def test_a_track_by_any_of_its_names(lab: Project, how: str) -> None:
    clip = lab.clip(line(lab, 0))
    asked = {
        "track": "t0000",
        "name": line(lab, 0)["track_mp4_filename"],
        "path": clip.relative_to(lab.root).as_posix(),
        "whole path": str(clip),
    }[how]
    (video,) = lab.run("show", asked, "--json").exits(0).json["videos"]
    assert [clip["track_id"] for clip in video["clips"]] == ["t0000"]
    assert [one["line"]["kind"] for one in video["ledger"]] == ["clips"]
    assert video["next"] == "nothing: it is complete"
    answer = lab.run("show", asked).exits(0)
    answer.says("complete", "20 boxes", "checksum matches", "rank 0 of 1", "next: nothing")


def test_a_damaged_clip(lab: Project) -> None:
    path = lab.clip(line(lab, 0))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    answer = lab.run("show", "t0000").exits(0)
    answer.says("damaged: clip-damaged", "checksum does NOT match", "next: trackverse download")


def test_a_clip_in_a_shard(lab: Project) -> None:
    path, one = lab.clip(line(lab, 0)), line(lab, 0)
    record = next(entry for entry in lab.ledger() if entry["kind"] == "clips")
    member = Member(
        VIDEO, "t0000", one["track_mp4_filename"], 7, "disc", record["done"][0][1], record["recipe"]
    )
    with ShardWriter(shards_folder(lab.layout), "extract-tracks", 0, 1, "0123456789ab") as writer:
        writer.add(path, member)
    path.unlink()
    (video,) = lab.run("show", "t0000", "--json").exits(0).json["videos"]
    (file,) = video["clips"][0]["files"]
    assert (file["kind"], file["matches"], file["offset"]) == ("shard", True, 512)
    assert video["clips"][0]["standing"]["state"] == "complete"


def test_hostile_text_does_nothing_to_a_terminal(lab: Project) -> None:
    with Ledger(lab.layout, "download-tracks", 0, 1, "Tiny") as ledger:
        ledger.video(GONE, "failed", reason="permanent", message="\x1b[2Jgone\r\n[bold]\u202e")
    answer = lab.run("show", "--", GONE).exits(0)
    answer.says("unrecoverable: permanent: the video is gone from its host", "[bold]", "[red]")
    assert not {c for c in answer.out if not c.isprintable()} - {"\n"}
    assert "\x1b" not in lab.run("show", "--json", "--", GONE).out


def test_nothing_is_called_so(lab: Project) -> None:
    answer = lab.run("show", "no\x1bsuch").exits(2)
    answer.says("nothing in Tiny is called 'no\\x1bsuch'", "--meta")


def test_what_is_not_selected_is_said_so(lab: Project) -> None:
    lab.track(VIDEO, 0.5, 1.0, top10_label_names=["ball"])
    lab.fetch()
    answer = lab.run("show", VIDEO, "--classes", "ball").exits(0)
    answer.says("t0000 (not selected)", "next: trackverse download-tracks")


def test_the_next_step_fits_the_reason() -> None:
    def of(state: str, reason: str) -> str:
        return next_step([Standing(state, reason, "", "")], "download-tracks")

    assert "--cookies FILE" in of("missing", "needs-cookies")
    assert "wait" in of("missing", "throttled")
    assert "yt-dlp" in of("missing", "tool")
    assert "[encode]" in of("damaged", "other-recipe")
    assert of("missing", "not-cut") == "trackverse download-tracks"
    assert next_step([], "x") == "nothing: no clip of it is selected"
