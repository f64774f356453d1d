"""Videos that changed since they came, cut by a decoder that does not see what was changed.

The decoder `cuda` says so of itself, and so it counts as one here, where it is on the CPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import av
import pytest

from tests.conftest import SERVED_IDS
from tests.faults.box import flip
from tests.services.web import HostileServer
from tests.videos import make_video, textured
from trackverse_cli import files
from trackverse_cli.ledger import read_ledger

pytest.importorskip("torch", reason="torch is not installed")

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.project import Project

VIDEO = "abcdefghijk"
DOUBT = "its bytes have changed since it came, so pyav decodes it"


@pytest.fixture
def lab(project: Project, tmp_path: Path) -> Iterator[Project]:
    """One video that came, with a key frame each second and a clip in each of three seconds."""
    with HostileServer() as server:
        server.serve(
            f"{VIDEO}.mp4", make_video(tmp_path / "v.mp4", frames=75, draw=textured, gop=25)
        )
        for second in range(3):
            project.track(VIDEO, second + 0.2, second + 0.6)
        project.env["TRACKVERSE_DOWNLOAD__URL_TEMPLATE"] = server.url_template
        project.env["TRACKVERSE_DECODER__CUDA__DEVICE"] = "cpu"
        project.fetch()
        project.run("download-videos").exits(0)
        yield project


def scramble(path: Path, seconds: float) -> None:
    """Change bytes within the picture that is shown at a time; nothing else is touched."""
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.size and p.time_base is not None]
        [hit] = [p for p in packets if float((p.pts or 0) * p.time_base) == pytest.approx(seconds)]
        at, size = hit.pos, hit.size
    content = bytearray(path.read_bytes())
    assert at is not None
    for place in range(at + size // 3, at + size):
        content[place] ^= 0xA5
    path.write_bytes(content)


def outcome(lab: Project) -> tuple[list[str], list[str], set[str]]:
    """Return the tracks that were cut, those that were not, and what is noted."""
    lines = [line for line in lab.ledger() if line["kind"] in ("clips", "track")]
    done = [one[0] for line in lines if line["kind"] == "clips" for one in line["done"]]
    failed = [f"{one['track_id']} {one['reason']}" for one in lines if one["kind"] == "track"]
    return sorted(done), failed, {line.get("note", "") for line in lines if "done" in line}


@pytest.mark.parametrize("decoder", ["pyav", "cuda"])
def test_what_was_changed_costs_the_clips_that_need_it(lab: Project, decoder: str) -> None:
    scramble(lab.layout.video_target(VIDEO), 1.4)
    lab.run("extract-tracks", "--decoder", decoder).exits(1)
    done, failed, notes = outcome(lab)
    assert (done, failed) == (["t0000", "t0002"], ["t0001 video-damaged"])
    assert notes == ({DOUBT} if decoder == "cuda" else {""})


def test_it_is_said_where_the_run_is_watched(lab: Project) -> None:
    flip(lab.layout.video_target(VIDEO))
    told = lab.run("extract-tracks", "--decoder", "cuda")
    assert f"video {VIDEO}: {DOUBT}; it should be downloaded again" in told.err


def spied(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    asked: list[Path] = []
    real = files.checksum

    def checksum(path: Path) -> str:
        asked.append(path)
        return real(path)

    monkeypatch.setattr(files, "checksum", checksum)
    return asked


@pytest.mark.parametrize(("decoder", "reads"), [("pyav", False), ("cuda", True)])
def test_sound_ones_are_cut_as_ever(
    lab: Project, monkeypatch: pytest.MonkeyPatch, decoder: str, reads: bool
) -> None:
    asked = spied(monkeypatch)
    lab.run("extract-tracks", "--decoder", decoder).exits(0)
    assert (lab.layout.video_target(VIDEO) in asked) == reads
    assert outcome(lab) == (["t0000", "t0001", "t0002"], [], {""})


def test_one_that_nobody_recorded_is_taken_as_it_is(lab: Project) -> None:
    for path in lab.layout.ledger.iterdir():
        path.unlink()
    flip(lab.layout.video_target(VIDEO))
    lab.run("extract-tracks", "--decoder", "cuda")
    assert outcome(lab)[2] <= {""}


def test_one_that_was_brought_again_is_trusted_again(served: Project) -> None:
    """In the very run that brings it, whose record of it was another when it began."""
    served.env["TRACKVERSE_DECODER__CUDA__DEVICE"] = "cpu"
    first = SERVED_IDS[0]
    path = served.layout.video_target(first)
    flip(path)
    served.run("verify", "--level", "checksum").exits(1)
    served.nth_clip(0).unlink()
    came = read_ledger(served.layout).videos[first].checksum
    served.run("download-tracks", "--decoder", "cuda").exits(0)
    assert files.checksum(path) == came
    lines: list[dict[str, Any]] = [x for x in served.ledger() if x["kind"] == "clips"]
    newest = max(lines, key=lambda line: line["time"])
    assert (newest["video_id"], newest.get("note", "")) == (first, "")
