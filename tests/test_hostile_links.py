"""Symbolic links planted in a dataset folder: nothing is written or removed through one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.services.media import write_video
from tests.services.web import HostileServer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tests.project import Outcome, Project

VIDEO = "abcdefghijk"
COMMANDS = (
    ("fetch-meta", "Tiny"),
    ("download-tracks", "--remove-videos"),
    ("verify", "--level", "decode"),
    ("plan",),
    ("clean",),
)
"""What writes or removes; `submit` and what comes with it only where its folders are meant."""

SUBMIT = (("submit", "--stage", "extract-tracks"), ("status", "--json"), ("cancel",))
FOLDERS = (
    "tracks_mp4/Tiny", "tracks_mp4/Tiny/ab", "videos_mp4/ab", "videos_mp4/.partial",
    "metadata/.incoming", "index/Tiny", "state/runs", "state/leases", "state/done", "state/jobs",
    "state/pace", "state/budget", "ledger/more", "logs/more",
)  # fmt: skip
FILES = (
    f"videos_mp4/.partial/{VIDEO}.mp4.mp4.part", f"videos_mp4/.partial/{VIDEO}.ranges.mp4",
    f"videos_mp4/.partial/{VIDEO}.remuxed.mp4", f"videos_mp4/.partial/{VIDEO}.mp4.mp4",
    f"videos_mp4/ab/{VIDEO}.mp4", f"videos_mp4/ab/{VIDEO}.ranges.mp4", f"videos_mp4/{VIDEO}.mp4",
    f"tracks_mp4/Tiny/ab/{VIDEO}-disc-t0000.mp4", "ledger/20200101T000000Z-x.jsonl",
    "index/Tiny/index.json", "metadata/Tiny.jsonl.gzip", "state/x", "trackverse.toml",
)  # fmt: skip


def tree(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return the content and the time of change of all below a folder."""
    return {
        str(p.relative_to(folder)): (p.read_bytes() if p.is_file() else b"", p.lstat().st_mtime_ns)
        for p in sorted(folder.rglob("*"))
    }


def told_in_a_sentence(outcome: Outcome) -> None:
    assert "Traceback" not in outcome.err
    assert outcome.code in (0, 1, 2, 3, 75), outcome.err
    if outcome.code == 2:
        assert outcome.err.strip().splitlines()[-1].startswith("trackverse: ")


@pytest.fixture
def server(project: Project) -> Iterator[HostileServer]:
    """A host with the one video of the dataset, which is indexed."""
    with HostileServer() as server:
        server.serve(f"{VIDEO}.mp4", write_video(project.folder / "source.mp4", frames=40))
        project.track(VIDEO, 0.1, 0.5, size=(192, 108))
        project.fetch()
        config = project.folder / "own.toml"
        config.write_text(
            f'[download]\nurl_template = "{server.url_template}"\n'
            '[pipeline]\ndisk_budget = "1GB"\nstorage_wait_seconds = 0\n'
        )
        yield server


def assert_untouched(project: Project, outside: Path, commands: Iterable[tuple[str, ...]]) -> None:
    for path in outside.iterdir():
        os.utime(path, (1e9, 1e9))
    before = tree(outside)
    for words in commands:
        outcome = project.run("--config", str(project.folder / "own.toml"), *words)
        told_in_a_sentence(outcome)
        assert tree(outside) == before, f"{words}\n{outcome.out}\n{outcome.err}"


@pytest.mark.parametrize("place", FOLDERS)
def test_nothing_is_touched_through_a_linked_folder(
    project: Project, server: HostileServer, tmp_path: Path, place: str
) -> None:
    outside, link = tmp_path / "outside", project.root / place
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.is_dir():
        link.rename(outside)
    outside.mkdir(exist_ok=True)
    # What a run would replace or remove in such a folder lies there already.
    for name in (f"{VIDEO}.mp4", f"{VIDEO}.mp4.mp4.part", f"{VIDEO}.ranges.mp4", "a.lease"):
        (outside / name).write_bytes((project.folder / "source.mp4").read_bytes())
    link.symlink_to(outside)
    jobs = place in ("state/jobs", "logs/more", "state/runs")
    assert_untouched(project, outside, (*COMMANDS, *SUBMIT) if jobs else COMMANDS)


@pytest.mark.parametrize(
    "places", [FILES[:4], FILES[4:7], FILES[7:]], ids=["partial", "videos", "rest"]
)
def test_nothing_is_touched_through_linked_files(
    project: Project, server: HostileServer, tmp_path: Path, places: tuple[str, ...]
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    for number, place in enumerate(places):
        link, target = project.root / place, outside / str(number)
        link.parent.mkdir(parents=True, exist_ok=True)
        source = link if link.is_file() else project.folder / "source.mp4"
        target.write_bytes(source.read_bytes())
        link.unlink(missing_ok=True)
        link.symlink_to(target)
    assert_untouched(project, outside, COMMANDS)
