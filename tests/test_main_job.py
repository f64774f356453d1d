"""The whole job by the command line, against a web server of the tests' own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.referee import frames_in_span, frames_of
from tests.services.web import HostileServer
from tests.videos import make_video

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.project import Project

IDS = ("aaaaaaaaaa1", "bbbbbbbbbb2", "-ccccccccc3", "_dddddddd-4")


@pytest.fixture
def server() -> Iterator[HostileServer]:
    with HostileServer() as server:
        yield server


@pytest.fixture
def served(project: Project, server: HostileServer, tmp_path: Path) -> Project:
    """Four videos on the server, two tracks in each, indexed."""
    for number, video_id in enumerate(IDS):
        source = make_video(tmp_path / "web" / f"{video_id}.mp4", frames=60 + 10 * number)
        server.serve(f"{video_id}.mp4", source)
        project.track(video_id, 0.2, 1.4)
        project.track(video_id, 0.9, 2.2)
    project.env["TRACKVERSE_DOWNLOAD__URL_TEMPLATE"] = server.url_template
    project.fetch()
    return project


def clip_states(project: Project) -> dict[str, tuple[int, int]]:
    """Every clip's modification time and inode."""
    found = project.layout.tracks.rglob("*.mp4")
    return {str(p): (p.stat().st_mtime_ns, p.stat().st_ino) for p in found}


def test_three_ranks_make_everything_and_a_second_run_nothing(
    served: Project, server: HostileServer, tmp_path: Path
) -> None:
    for rank in range(3):
        served.run("download-tracks", "--rank", str(rank), "--world-size", "3").exits(0)
    report = served.run("verify", "--level", "decode", "--json").exits(0).json
    assert report["complete"] is True
    whole = {"missing": 0, "damaged": 0, "unrecoverable": 0}
    assert report["clips"] == {"expected": 8, "complete": 8} | whole
    assert report["videos"] == {"expected": 4, "complete": 4} | whole
    assert report["reasons"] == {}
    for line in served.lines:
        assert isinstance(line, dict)
        source = tmp_path / "web" / f"{line['yid']}.mp4"
        expected = frames_in_span(source, line["frame_ts"][0], line["frame_ts"][-1])
        assert len(frames_of(served.clip(line))) == len(expected)
    before, asked = clip_states(served), sum(server.count(f"{i}.mp4") for i in IDS)
    served.run("download-tracks", "--world-size", "2", "--rank", "1").exits(0)
    served.run("download-tracks").exits(0)
    assert clip_states(served) == before
    assert sum(server.count(f"{i}.mp4") for i in IDS) == asked
    assert served.half_written() == []


def test_stages_apart_do_what_the_joint_one_does(served: Project) -> None:
    served.run("extract-tracks").exits(1).says("8 video-missing")
    served.run("download-videos", "--limit", "1").exits(0)
    assert len(list(served.layout.videos.rglob("*.mp4"))) == 1
    served.run("download-videos").exits(0)
    served.run("verify").exits(1).says("8 not-cut")
    served.run("extract-tracks", "--workers", "1").exits(0)
    served.run("verify", "--level", "checksum").exits(0).says("complete")


def test_the_ledger_has_a_line_for_each_video_and_each_clip(served: Project) -> None:
    served.run("download-tracks").exits(0)
    lines = served.ledger()
    assert sorted(x["video_id"] for x in lines if x["kind"] == "video") == sorted(IDS)
    clips = [clip for x in lines if x["kind"] == "clips" for clip in x["done"]]
    assert sorted(clip[0] for clip in clips) == [f"t{k:04d}" for k in range(8)]
    for line in served.lines:
        assert isinstance(line, dict)
        (record,) = [clip for clip in clips if clip[0] == line["track_id"]]
        assert record[2] == served.clip(line).stat().st_size
    assert str(served.root) not in json.dumps(lines)


def test_a_second_subset_starts_from_what_is_there(served: Project, server: HostileServer) -> None:
    served.run("download-tracks").exits(0)
    before, asked = clip_states(served), server.count(f"{IDS[0]}.mp4")
    served.name, served.lines = "Other", served.lines[:1]
    served.track(IDS[1], 0.4, 1.9, track_id="new", track_mp4_filename="Other/new.mp4")
    served.fetch()
    served.run("verify", "--meta", "Other").exits(1).says("1 not-cut")
    served.run("download-tracks", "--meta", "Other", "--world-size", "1").exits(0)
    assert server.count(f"{IDS[0]}.mp4") == asked
    after = clip_states(served)
    assert {path: after[path] for path in before} == before
    assert len(after) == len(before) + 1


def test_other_settings_make_every_clip_due_again(served: Project) -> None:
    served.run("download-tracks").exits(0)
    before = clip_states(served)
    served.env["TRACKVERSE_ENCODE__CRF"] = "30"
    served.run("verify").exits(1).says("8 other-recipe")
    served.run("download-tracks").exits(0)
    served.run("verify").exits(0)
    after = clip_states(served)
    assert after.keys() == before.keys()
    assert not set(after.values()) & set(before.values())


def test_videos_are_removed_once_their_clips_are_checked(
    served: Project, server: HostileServer
) -> None:
    served.run("download-tracks", "--remove-videos").exits(0).says("4 removed")
    assert list(served.layout.videos.rglob("*.mp4")) == []
    served.run("verify", "--level", "decode").exits(0)
    asked = server.count(f"{IDS[0]}.mp4")
    served.run("download-tracks", "--remove-videos").exits(0)
    assert server.count(f"{IDS[0]}.mp4") == asked


def test_a_video_in_the_flat_layout_is_found(served: Project, tmp_path: Path) -> None:
    served.layout.videos.mkdir()
    for video_id in IDS:
        (tmp_path / "web" / f"{video_id}.mp4").rename(served.layout.videos / f"{video_id}.mp4")
    served.run("extract-tracks").exits(0)
    served.run("verify").exits(0)


def test_a_damaged_clip_is_found_and_mended(served: Project) -> None:
    served.run("download-tracks").exits(0)
    short, flipped, gone, text = (served.clip(line) for line in served.lines[:4])  # type: ignore[arg-type]
    short.write_bytes(short.read_bytes()[:-200])
    content = bytearray(flipped.read_bytes())
    content[len(content) // 2] ^= 16
    flipped.write_bytes(content)
    gone.unlink()
    text.write_text("no video")
    served.run("verify", "--level", "presence").exits(1).says("1 not-cut")
    report = served.run("verify", "--level", "checksum", "--json").exits(1).json
    assert report["clips"]["damaged"] == 3
    assert report["clips"]["missing"] == 1
    assert report["reasons"] == {"clip-damaged": 3, "not-cut": 1}
    served.run("extract-tracks").exits(0)
    served.run("verify", "--level", "checksum").exits(0)


def test_what_is_gone_for_good_is_listed_and_no_error(
    served: Project, server: HostileServer
) -> None:
    server.serve(f"{IDS[0]}.mp4", b"", "404")
    served.run("download-tracks").exits(0).says("permanent")
    report = served.run("verify", "--json").exits(1).json
    assert report["clips"]["unrecoverable"] == 2
    assert report["videos"]["unrecoverable"] == 1
    assert report["reasons"] == {"permanent": 2}
    served.run("verify").says("nothing is left that another run could win")
    asked = server.count(f"{IDS[0]}.mp4")
    served.run("download-tracks").exits(0)
    assert server.count(f"{IDS[0]}.mp4") == asked


def test_no_way_to_the_host_is_nobodys_fault(served: Project) -> None:
    served.env["TRACKVERSE_DOWNLOAD__URL_TEMPLATE"] = "http://127.0.0.1:9/{video_id}.mp4"
    served.run("download-tracks").exits(3).says("cannot reach the host")
    assert all(line["kind"] in ("run", "end") for line in served.ledger())


def test_throttling_ends_the_rank_and_blames_no_video(
    served: Project, server: HostileServer
) -> None:
    for video_id in IDS:
        server.serve(f"{video_id}.mp4", b"", "429")
    served.run("download-tracks").exits(75).says("slow down")
    report = served.run("verify", "--json").exits(1).json
    assert report["clips"]["unrecoverable"] == 0


def test_a_killed_rank_goes_on_where_it_was(served: Project) -> None:
    command, env = served.command("download-tracks", "--workers", "1")
    process = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(served.layout.tracks.rglob("*.mp4")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    before = clip_states(served)
    assert before
    served.run("download-tracks").exits(0)
    served.run("verify", "--level", "decode").exits(0)
    after = clip_states(served)
    assert {path: after[path] for path in before} == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_rank_in_order(
    served: Project, server: HostileServer, tmp_path: Path, number: signal.Signals
) -> None:
    long = make_video(
        tmp_path / "long.mp4", frames=1200, size=(640, 360), options={"preset": "ultrafast"}
    )
    server.serve(f"{IDS[0]}.mp4", long)
    served.name, served.lines = "Long", []
    for k in range(12):
        served.track(IDS[0], 0.2, 46.0, size=(640, 360), box=0.3 + k / 30)
    served.fetch()
    command, env = served.command("download-tracks", "--meta", "Long")
    process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(served.layout.tracks.rglob(".tv-*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.5)
    asked = time.monotonic()
    process.send_signal(number)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert time.monotonic() - asked < 10  # three seconds are promised; machines of tests are slow
    assert "Traceback" not in told
    assert served.half_written() == []
    assert list(served.layout.tracks.rglob("*.mp4")) == []


def test_submit_runs_what_is_not_done(served: Project) -> None:
    planned = served.run("submit", "--world-size", "4", "--dry-run").exits(0)
    assert planned.out.count("download-tracks") == len(planned.out.splitlines()) > 0
    assert not served.layout.tracks.exists()
    outcome = served.spawn("submit", "--world-size", "4").exits(0)
    outcome.says("all ranks have ended")
    (log_dir,) = served.layout.logs.iterdir()
    assert sorted(p.name for p in log_dir.iterdir())[0].startswith("rank-000")
    served.run("verify").exits(0)
    served.spawn("submit", "--world-size", "4").exits(0).says("every rank of 4 is done")
    victim = served.clip(served.lines[0])  # type: ignore[arg-type]
    victim.unlink()
    again = served.run("submit", "--world-size", "4", "--dry-run").exits(0)
    assert len(again.out.splitlines()) == 1


def test_submit_reports_a_rank_that_fails(served: Project) -> None:
    served.env["TRACKVERSE_DOWNLOAD__URL_TEMPLATE"] = "http://127.0.0.1:9/{video_id}.mp4"
    served.spawn("submit", "--world-size", "2").exits(1).says("failed")


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
def test_shards_are_whole_and_apart(served: Project, size: int) -> None:
    videos = clips = 0
    for rank in range(size):
        of_rank = ("--rank", str(rank), "--world-size", str(size))
        report = served.run("verify", "--level", "presence", "--json", *of_rank).json
        videos += report["videos"]["expected"]
        clips += report["clips"]["expected"]
    assert (videos, clips) == (4, 8)


def test_a_root_that_moves_keeps_everything(served: Project, tmp_path: Path) -> None:
    served.run("download-tracks").exits(0)
    moved = tmp_path / "elsewhere with 'quotes'"
    served.root.rename(moved)
    served.run("verify", "--root", str(moved), "--level", "checksum").exits(0)
    served.run("download-tracks", "--root", str(moved)).exits(0)


def test_top_folders_may_be_links(served: Project, tmp_path: Path) -> None:
    for name in ("videos_mp4", "tracks_mp4"):
        other = tmp_path / "other disk" / name
        other.mkdir(parents=True)
        (served.root / name).symlink_to(other)
    served.run("download-tracks").exits(0)
    served.run("verify").exits(0)
    assert len(list((tmp_path / "other disk").rglob("*.mp4"))) == 12


def test_files_have_the_mode_that_the_umask_says(served: Project) -> None:
    before = os.umask(0o002)
    try:
        served.run("download-tracks").exits(0)
    finally:
        os.umask(before)
    modes = {p.stat().st_mode & 0o777 for p in served.root.rglob("*.mp4")}
    modes |= {p.stat().st_mode & 0o777 for p in served.layout.ledger.iterdir()}
    assert modes == {0o664}


def test_a_full_disk_ends_with_try_later(served: Project, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(small)], check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    served.env["TRACKVERSE_PIPELINE__STORAGE_WAIT_SECONDS"] = "1"
    try:
        served.layout.tracks.symlink_to(small)
        (small / "ballast").write_bytes(bytes(390 * 1024))
        # In a process of its own: FFmpeg keeps a file open when it cannot move its header forward.
        served.spawn("download-tracks").exits(75).says("storage is full")
        (small / "ballast").unlink()
        assert served.half_written() == []
        served.run("download-tracks").exits(0)
        served.run("verify", "--level", "decode").exits(0)
    finally:
        subprocess.run(["umount", str(small)], check=True)
