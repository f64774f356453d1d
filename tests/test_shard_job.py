"""The job with `[extract] output = "webdataset"`: killed, resumed, complete, each sample once."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
import webdataset

from tests.referee import frames_in_span, frames_of
from tests.test_real_footage import CLIPS, shipped_clip, wandering_tracks
from trackverse_cli.outputs import ShardIndex, shards_folder
from trackverse_cli.outputs.check import read_member

if TYPE_CHECKING:
    from tests.project import Project

SHARDS = {"TRACKVERSE_EXTRACT__OUTPUT": "webdataset", "TRACKVERSE_EXTRACT__SHARD_BYTES": "40KB"}


@pytest.fixture
def lab(project: Project) -> Project:
    for number in range(6):
        video_id = f"video-{number:05d}"
        project.video(video_id, frames=90)
        for start in (0.2, 0.8, 1.4):
            project.track(video_id, start, start + 1.6)
    project.fetch()
    project.env |= SHARDS
    return project


def samples(project: Project) -> list[str]:
    tars = sorted(str(path) for path in shards_folder(project.layout).glob("*.tar"))
    if not tars:
        return []
    found = webdataset.WebDataset(tars, shardshuffle=False)
    return [json.loads(sample["json"])["track_id"] for sample in found]


def test_killed_twice_then_complete_with_each_sample_once(lab: Project) -> None:
    command, env = lab.command("extract-tracks", "--workers", "1")
    for _ in range(2):
        before = len(samples(lab))
        process = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while process.poll() is None and len(samples(lab)) <= before and time.monotonic() < end:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert 0 < len(samples(lab)) < 18
    lab.spawn("extract-tracks").exits(0)
    assert sorted(samples(lab)) == [f"t{number:04d}" for number in range(18)]
    for level in ("presence", "probe", "checksum", "decode"):
        told = lab.run("verify", "--json", "--level", level).exits(0).json
        assert told["clips"]["complete"] == 18
    assert not list(lab.layout.tracks.rglob("*.mp4"))
    assert [p for p in shards_folder(lab.layout).iterdir() if p.name.startswith(".")] == []
    assert len([e for e in lab.ledger() if e["kind"] == "clips"]) >= 6
    lab.run("extract-tracks").exits(0)
    assert len(ShardIndex.load(lab.layout)) == 18
    assert sorted(samples(lab)) == [f"t{number:04d}" for number in range(18)]


def test_clean_keeps_each_clip_in_one_shard(project: Project) -> None:
    project.video("abcdefghijk", frames=90)
    project.track("abcdefghijk", 0.2, 1.4)
    project.track("abcdefghijk", 1.0, 2.4)
    project.fetch()
    project.env["TRACKVERSE_EXTRACT__OUTPUT"] = "webdataset"
    project.run("extract-tracks").exits(0)
    project.env["TRACKVERSE_ENCODE__CRF"] = "30"
    project.run("extract-tracks").exits(0)
    before = ShardIndex.load(project.layout)
    assert sum(map(len, before.superseded().values())) == 2
    project.run("clean").exits(0)
    after = ShardIndex.load(project.layout)
    assert after.superseded() == {}
    assert len(after.shards) == 1
    project.run("verify", "--level", "checksum").exits(0)
    assert project.run("plan", "--json").exits(0).json["clips"]["complete"] == 2


def test_real_footage_in_shards_killed_twice(project: Project) -> None:
    """As files it is compared with FFmpeg's own cut elsewhere; here shards hold the same clips."""
    sources = {video_id: shipped_clip(name) for video_id, name in CLIPS.items()}
    for video_id, path in sources.items():
        project.lines += wandering_tracks(video_id, path, 4)
        target = project.layout.video_target(video_id)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    project.fetch()
    project.env |= SHARDS | {"TRACKVERSE_EXTRACT__SHARD_BYTES": "100KB"}
    command, env = project.command("extract-tracks", "--workers", "1")
    for _ in range(2):
        before = len(samples(project))
        process = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while process.poll() is None and len(samples(project)) <= before:
            assert time.monotonic() < end
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    project.spawn("extract-tracks").exits(0)
    project.run("verify", "--level", "decode").exits(0)
    names = [line["track_id"] for line in project.lines if isinstance(line, dict)]
    assert sorted(samples(project)) == sorted(names)
    shards = ShardIndex.load(project.layout)
    for line in project.lines:
        assert isinstance(line, dict)
        place = shards.find(line["yid"], line["track_id"])
        assert place is not None
        clip = project.folder / "clip.mp4"
        clip.write_bytes(b"".join(read_member(place)))
        source = sources[line["yid"]]
        expected = frames_in_span(source, min(line["frame_ts"]), max(line["frame_ts"]))
        assert len(frames_of(clip)) == len(expected)
