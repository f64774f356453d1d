"""Tar shards: written whole or not at all, found again, read by the webdataset package."""

from __future__ import annotations

import errno
import json
import os
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
import webdataset
from pyarrow import parquet

from tests.project import Project
from trackverse_cli.errors import ItemError
from trackverse_cli.files import checksum
from trackverse_cli.keys import track_keys
from trackverse_cli.layout import Layout
from trackverse_cli.ledger import ClipRecord
from trackverse_cli.outputs import (
    Arrivals,
    FileSink,
    Member,
    ShardIndex,
    ShardSink,
    ShardWriter,
    check_member,
    choose_output,
    discard_leftovers,
    drop_members,
    member_key,
    shards_folder,
)
from trackverse_cli.outputs.check import open_member, read_member
from trackverse_cli.outputs.table import schema
from trackverse_cli.probe import Level, read_clip

if TYPE_CHECKING:
    from pathlib import Path

VIDEO, OTHER = "abcdefghijk", "-_234567890"
RUN, LATER = "0123456789ab", "ba9876543210"


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A dataset with three clips in files."""
    project = Project(tmp_path_factory.mktemp("cut"))
    project.video(VIDEO, frames=60)
    project.video(OTHER, frames=60)
    project.track(VIDEO, 0.2, 1.0)
    project.track(VIDEO, 0.8, 2.0)
    project.track(OTHER, 0.2, 1.4, track_id="a/track.with odd: parts")
    project.fetch()
    project.run("extract-tracks").exits(0)
    return project


def member_of(project: Project, number: int) -> tuple[Path, Member]:
    line = project.lines[number]
    path = project.clip(line)
    facts = read_clip(path)
    assert facts.origin is not None
    return path, Member(
        line["yid"], line["track_id"], line["track_mp4_filename"], 7, "disc", facts.frames,
        facts.origin.recipe,
    )  # fmt: skip


def writer_in(root: Path, run: str = RUN, **limits: Any) -> ShardWriter:
    return ShardWriter(shards_folder(Layout(root)), "extract-tracks", 0, 1, run, **limits)


@pytest.fixture
def sharded(cut: Project, tmp_path: Path) -> Layout:
    """The three clips in two shards."""
    with writer_in(tmp_path, max_clips=2) as writer:
        for number in range(3):
            if writer.is_full:
                writer.roll()
            writer.add(*member_of(cut, number))
    return Layout(tmp_path)


def tars(layout: Layout) -> list[Path]:
    return sorted(shards_folder(layout).glob("*.tar"))


def test_every_clip_is_found_with_its_bytes(cut: Project, sharded: Layout) -> None:
    index = ShardIndex.load(sharded)
    assert len(index) == 3
    assert len(tars(sharded)) == 2
    for number in range(3):
        path, member = member_of(cut, number)
        place = index.find(member.video_id, member.track_id)
        assert place is not None
        assert b"".join(read_member(place)) == path.read_bytes()
        assert (place.checksum, place.frames) == (checksum(path), member.frames)
        with open_member(place) as container:
            assert sum(1 for _ in container.decode(video=0)) == member.frames
        for level in Level:
            check_member(place, member.video_id, member.track_id, member.recipe, None, level)
    assert index.find(VIDEO, "another") is None
    only = ShardIndex.load(sharded, videos={OTHER})
    assert len(only) == 1
    assert only.find(OTHER, cut.lines[2]["track_id"])


def test_webdataset_reads_each_sample_once(cut: Project, sharded: Layout) -> None:
    urls = [str(path) for path in tars(sharded)]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False))
    said = [json.loads(sample["json"]) for sample in samples]
    assert [one["track_id"] for one in said] == [line["track_id"] for line in cut.lines]
    assert {one["label"] for one in said} == {"disc"}
    for sample, line in zip(samples, cut.lines, strict=True):
        assert sample["mp4"] == cut.clip(line).read_bytes()
        assert sample["__key__"] == member_key(line["yid"], line["track_id"])


def test_the_same_clips_give_the_same_bytes(cut: Project, tmp_path: Path) -> None:
    for name in ("one", "two"):
        with writer_in(tmp_path / name) as writer:
            for number in range(3):
                writer.add(*member_of(cut, number))
    one, two = (tars(Layout(tmp_path / name))[0] for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    with tarfile.open(one) as tar:
        names = tar.getnames()
    assert all(name.count(".") == 1 and "/" not in name for name in names)


def test_two_tracks_never_share_a_key() -> None:
    odd = ["a.b", "a/b", "", "x" * 65, "\u202e", "+", "a b"]
    keys = {member_key(VIDEO, track) for track in (*odd, "a-b", "plain")}
    assert len(keys) == len(odd) + 2
    assert member_key(VIDEO, "plain") == f"{VIDEO}-plain"
    assert member_key(VIDEO, member_key(VIDEO, "a.b")[12:]) not in {member_key(VIDEO, "a.b")}


def test_the_index_is_what_is_documented(sharded: Layout) -> None:
    for path in shards_folder(sharded).glob("*.idx"):
        assert parquet.read_schema(path).remove_metadata() == schema()


def test_a_killed_writer_leaves_nothing_that_counts(cut: Project, sharded: Layout) -> None:
    writer = writer_in(sharded.root, LATER)
    writer.add(*member_of(cut, 0))
    folder = shards_folder(sharded)
    left = [path for path in folder.iterdir() if path.name.startswith(".")]
    assert len(left) == 1
    # Between its two renames: an index without its shard.
    orphan = folder / f"extract-tracks-0000of0001-{LATER}-000000.idx"
    orphan.write_bytes(next(folder.glob("*.idx")).read_bytes())
    assert len(ShardIndex.load(sharded)) == 3
    assert discard_leftovers(sharded, lambda run: False) == []
    assert set(discard_leftovers(sharded, lambda run: run == LATER)) == {*left, orphan}
    assert len(tars(sharded)) == 2
    assert len(ShardIndex.load(sharded)) == 3


def test_a_lost_index_is_made_up_from_the_shard(
    cut: Project, sharded: Layout, caplog: pytest.LogCaptureFixture
) -> None:
    whole = ShardIndex.load(sharded)
    for number, path in enumerate(sorted(shards_folder(sharded).glob("*.idx"))):
        path.write_bytes(b"PAR1 nonsense") if number else path.unlink()
    again = ShardIndex.load(sharded)
    for line in cut.lines:
        key = (line["yid"], line["track_id"])
        assert again.find(*key) == whole.find(*key)


def test_damage_is_seen_at_the_level_that_looks_for_it(cut: Project, sharded: Layout) -> None:
    index = ShardIndex.load(sharded)
    _, member = member_of(cut, 1)
    place = index.find(member.video_id, member.track_id)
    assert place is not None
    with place.shard.open("r+b") as file:
        file.seek(place.offset + place.size // 2)
        file.write(b"\0" * 64)
    name = (place, member.video_id, member.track_id, member.recipe)
    check_member(*name, None, Level.PROBE)
    with pytest.raises(ItemError, match="another checksum"):
        check_member(*name, None, Level.CHECKSUM)
    with pytest.raises(ItemError, match="recipe"):
        check_member(*name[:3], "000000000000", None, Level.PROBE)
    record = ClipRecord(member.recipe, 1, 2, "3")
    with pytest.raises(ItemError, match="not the one"):
        check_member(*name, record, Level.PRESENCE)
    with pytest.raises(ItemError, match="stands in its place"):
        check_member(place, OTHER, "t", member.recipe, None, Level.PROBE)
    os.truncate(place.shard, place.offset + 10)
    short = ShardIndex.load(sharded).find(*name[1:3])
    assert short is not None
    assert not short.is_there
    with pytest.raises(ItemError, match="cut short"):
        check_member(short, *name[1:], None, Level.PRESENCE)


def test_the_newest_of_two_counts_and_the_old_one_can_go(cut: Project, sharded: Layout) -> None:
    path, member = member_of(cut, 0)
    with writer_in(sharded.root, LATER) as writer:
        writer.add(path, member)
    place = ShardIndex.load(sharded).find(member.video_id, member.track_id)
    assert place is not None
    assert LATER in place.shard.name
    old = next(tar for tar in tars(sharded) if LATER not in tar.name)
    superseded = ShardIndex.load(sharded).superseded()
    assert list(superseded) == [old]
    new = drop_members(old, superseded[old], "clean", "aaaaaaaaaaaa")
    assert new is not None
    assert not old.exists()
    samples = list(webdataset.WebDataset([str(p) for p in tars(sharded)], shardshuffle=False))
    assert sorted(s["__key__"] for s in samples) == sorted(
        member_key(line["yid"], line["track_id"]) for line in cut.lines
    )


def test_a_rewrite_that_was_killed_counts_no_clip_twice(cut: Project, sharded: Layout) -> None:
    before = {tar: tar.read_bytes() for tar in tars(sharded)}
    old = tars(sharded)[0]
    index = old.with_suffix(".idx").read_bytes()
    drop_members(old, {int(track_keys([VIDEO], ["t0000"])[0])}, "clean", LATER)
    old.write_bytes(before[old])
    old.with_suffix(".idx").write_bytes(index)
    assert len(ShardIndex.load(sharded)) == 2
    assert old in discard_leftovers(sharded, lambda run: run == LATER)
    assert not old.exists()
    assert len(ShardIndex.load(sharded)) == 2


def test_a_full_disk_leaves_the_shard_as_it_was(
    cut: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = writer_in(tmp_path)
    writer.add(*member_of(cut, 0))
    real, calls = os.pwrite, []

    def full(fd: int, content: Any, at: int) -> int:
        calls.append(at)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "no space")
        return real(fd, content, at)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="no space"):
        writer.add(*member_of(cut, 1))
    monkeypatch.undo()
    assert writer.waiting == 1
    writer.add(*member_of(cut, 2))
    writer.roll()
    layout = Layout(tmp_path)
    index = ShardIndex.load(layout)
    assert len(index) == 2
    path, member = member_of(cut, 2)
    place = index.find(member.video_id, member.track_id)
    assert place is not None
    assert b"".join(read_member(place)) == path.read_bytes()
    assert len(list(webdataset.WebDataset([str(tars(layout)[0])], shardshuffle=False))) == 2


def test_work_waits_until_its_clips_are_safe(cut: Project, tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    sink = ShardSink(writer_in(tmp_path, max_clips=2), tmp_path / "spool", RUN)
    done: list[int] = []
    for number in range(3):
        path, member = member_of(cut, number)
        temporary = sink.temporary(member.clip_name)
        temporary.write_bytes(path.read_bytes())
        clip = sink.store(temporary, member)
        sink.gather([clip])
        assert not temporary.exists()
        sink.when_safe(lambda number=number: done.append(number))  # type: ignore[misc]
        sink.settle()
        assert len(ShardIndex.load(layout)) >= len(done)
        assert done == ([0, 1] if number else [])
    sink.flush()
    assert done == [0, 1, 2]
    assert len(ShardIndex.load(layout)) == 3


def test_what_is_abandoned_is_not_reported(cut: Project, tmp_path: Path) -> None:
    sink = ShardSink(writer_in(tmp_path), tmp_path / "spool", RUN)
    path, member = member_of(cut, 0)
    temporary = sink.temporary(member.clip_name)
    temporary.write_bytes(path.read_bytes())
    sink.gather([sink.store(temporary, member)])
    sink.when_safe(lambda: pytest.fail("its clip was thrown away"))
    sink.abandon()
    sink.flush()
    assert list(shards_folder(Layout(tmp_path)).iterdir()) == []


def test_files_are_safe_at_once(cut: Project, tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    sink = FileSink(layout)
    path, member = member_of(cut, 0)
    temporary = sink.temporary(member.clip_name)
    temporary.write_bytes(path.read_bytes())
    clip = sink.store(temporary, member)
    sink.gather([clip])
    done: list[str] = []
    sink.when_safe(lambda: done.append("done"))
    sink.settle()
    assert done == ["done"]
    assert layout.clip(member.clip_name).read_bytes() == path.read_bytes()
    assert clip.checksum == checksum(path)


def test_auto_means_shards_for_many_clips(tmp_path: Path) -> None:
    assert choose_output("auto", 10, tmp_path) == "files"
    assert choose_output("auto", 500_001, tmp_path) == "webdataset"
    assert choose_output("files", 500_001, tmp_path) == "files"
    assert choose_output("auto", 90_000, tmp_path, 1_000_000) == "files"
    assert choose_output("auto", 1_001, tmp_path, 1_000) == "webdataset"
    facts = os.statvfs(tmp_path)
    if 0 < facts.f_files < 500_000:
        assert choose_output("auto", facts.f_files, tmp_path) == "webdataset"


def test_a_full_disk_names_the_clips_that_were_taken(
    cut: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = writer_in(tmp_path)
    sink = ShardSink(writer, tmp_path / "spool", RUN)
    stored = []
    for number in range(3):
        path, member = member_of(cut, number)
        temporary = sink.temporary(member.clip_name)
        temporary.write_bytes(path.read_bytes())
        stored.append(sink.store(temporary, member))
    real, added = writer.add, []

    def full(clip: Path, member: Member) -> Any:
        if added:
            raise OSError(errno.ENOSPC, "no space")
        added.append(member)
        return real(clip, member)

    monkeypatch.setattr(writer, "add", full)
    gathered = sink.gather(stored)
    assert gathered.error is not None
    assert [clip.member for clip in gathered.clips] == added
    assert list((tmp_path / "spool").iterdir()) == []
    sink.flush()
    place = gathered.clips[0].place
    assert place is not None
    assert ShardIndex.load(Layout(tmp_path)).find(VIDEO, "t0000") == place


def test_shards_of_other_runs_are_noticed(cut: Project, sharded: Layout) -> None:
    arrivals = Arrivals(sharded, ShardIndex.load(sharded))
    assert not arrivals.holds(VIDEO)
    with writer_in(sharded.root, LATER) as writer:
        writer.add(*member_of(cut, 0))
    assert arrivals.holds(VIDEO)
    assert not arrivals.holds(OTHER)
    assert not Arrivals(Layout(sharded.root / "none"), ShardIndex.load(sharded)).holds(VIDEO)
