"""Files that mean harm: bombs, endless lines, tracks and videos without measure, headers that lie.

Each is handled by the real command line in a process that may have only so much memory.
"""

from __future__ import annotations

import gzip
import json
import resource
import struct
import subprocess
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from tests.project import Outcome
from tests.services.web import HostileServer
from tests.videos import make_video
from trackverse_cli import probe
from trackverse_cli.boxes import _smooth_dense
from trackverse_cli.decoding.reader import Reader
from trackverse_cli.download import check
from trackverse_cli.errors import DamagedFileError, ItemError
from trackverse_cli.index import scan
from trackverse_cli.probe import Level

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.project import Project

MEMORY_BYTES = 4 << 30
"""Of addresses: libraries and the stacks of threads take more than half of it before any work."""

FILE_BYTES = 256 << 20
SECONDS = 240.0
VIDEO = "abcdefghijk"


def limited(project: Project, *words: str) -> Outcome:
    """Run a command that may have so much memory, write such files, and take so long."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))

    command, env = project.command(*words)
    done = subprocess.run(
        command, env=env | {"MALLOC_ARENA_MAX": "2"}, capture_output=True, text=True, check=False,
        preexec_fn=limit, timeout=SECONDS,
    )  # fmt: skip
    assert done.returncode >= 0, f"ended by signal {-done.returncode}\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return Outcome(done.returncode, done.stdout, done.stderr)


def everything(folder: Path, but: Path) -> set[Path]:
    return {p for p in folder.rglob("*") if not p.is_relative_to(but)}


# --- metadata


def members(*pieces: tuple[bytes, int]) -> bytes:
    """Return a gzip file of pieces that repeat, made without unpacking them."""
    return b"".join(gzip.compress(piece, 9, mtime=0) * times for piece, times in pieces)


def good_line(project: Project) -> bytes:
    line = project.track(VIDEO, 0.2, 1.0)
    project.lines.clear()
    return json.dumps(line).encode() + b"\n"


def test_a_line_of_a_gigabyte_costs_only_itself(project: Project) -> None:
    good, filler = good_line(project), b"x" * (16 << 20)
    second = good.replace(b"t0000", b"t0001")
    content = members((good, 1), (b'{"yid": "', 1), (filler, 64), (b'"}\n', 1), (second, 1))
    assert len(content) < 4 << 20
    path = project.folder / "Long.jsonl.gzip"
    path.write_bytes(content)
    outcome = limited(project, "fetch-meta", str(path)).exits(0)
    outcome.says("line 2: invalid-track: the line is over 64 MiB long", "tracks 2")


@pytest.mark.parametrize("piece", [b"\n", b" \n", b"x"], ids=["newlines", "blank", "no line"])
def test_a_bomb_takes_little_memory(project: Project, piece: bytes) -> None:
    block = piece * ((2 << 20) // len(piece))
    path = project.folder / "Bomb.jsonl.gzip"
    path.write_bytes(members((good_line(project), 1), (block, 4)))
    limited(project, "fetch-meta", str(path)).exits(0).says("tracks 1")


def test_a_flood_of_bad_lines_ends_early(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "REFUSED_LIMIT", 1000)
    path = project.folder / "Flood.jsonl.gzip"
    path.write_bytes(members((good_line(project), 1), (b"{\n" * 500, 3)))
    outcome = project.run("fetch-meta", str(path)).exits(1)
    outcome.says("over 1,000 lines of", "line 2 says why", "TrackVerse metadata")
    assert not (project.layout.metadata / "Flood.jsonl.gzip").exists()


def test_a_track_of_a_million_boxes(project: Project) -> None:
    project.video(VIDEO, frames=60)
    line, count = project.track(VIDEO, 0.2, 1.0), 1_000_000
    times = np.linspace(0.2, 1.5, count)
    text = json.dumps(line | {"frame_ts": 1, "frame_bboxes": 2}).replace(
        '"frame_ts": 1, "frame_bboxes": 2',
        f'"frame_ts": [{",".join(f"{at:.7f}" for at in times)}], '
        f'"frame_bboxes": [{",".join(["[100,50,90,90]"] * count)}]',
    )
    assert len(text) < 64 << 20
    project.lines[:] = [text.encode()]
    path = project.write_metadata()
    limited(project, "fetch-meta", str(path)).exits(0).says("tracks 1")
    limited(project, "extract-tracks").exits(0).says("1 cut")
    assert project.clip(line).is_file()


def test_names_and_classes_are_no_markup_and_no_commands(project: Project) -> None:
    """What metadata says reaches a terminal as letters, whatever it says."""
    project.video(VIDEO, frames=60)
    nasty = "\x1b]0;owned\x07\x1b[31m<script>alert(1)</script>[red]x[/red]\u202e\r\n"
    for number in range(3):
        project.track(VIDEO, 0.2, 1.0, top10_label_names=[f"{nasty}{number}"])
    project.track(VIDEO, 9.0, 9.5, track_mp4_filename="Tiny/<b>&'\"$(id)`id`.mp4")
    project.fetch()
    for words in (
        ["extract-tracks"], ["verify"], ["verify", "--json"], ["show", VIDEO], ["plan"],
        ["show", VIDEO, "--json"], ["download-videos", "--limit", "0"], ["status"], ["clean"],
    ):  # fmt: skip
        outcome = project.run(*words)
        said = outcome.out + outcome.err
        assert not {"\x1b", "\x07", "\u202e", "\r"} & set(said), (words, ascii(said))
    page = project.folder / "report.html"
    project.run("verify", "--report", str(page))
    if page.exists():
        text = page.read_text()
        assert "<script>alert" not in text
        assert "<b>&'" not in text


# --- videos


def patched(
    content: bytes, kind: bytes, change: Callable[[bytearray], None], nth: int = 0
) -> bytes:
    """Return an mp4 with the body of its nth atom of a kind changed in place."""
    at = -1
    for _ in range(nth + 1):
        at = content.index(kind, at + 1)
    (size,) = struct.unpack(">I", content[at - 4 : at])
    body = bytearray(content[at + 4 : at - 4 + size])
    length = len(body)
    change(body)
    assert len(body) == length
    return content[: at + 4] + bytes(body) + content[at - 4 + size :]


def put(fmt: str, at: int, *values: int) -> Callable[[bytearray], None]:
    return lambda body: struct.pack_into(fmt, body, at, *values)


def frames_without_number(content: bytes) -> bytes:
    """Return an mp4 whose tables speak of a billion pictures of one byte."""
    many = 1_000_000_000
    content = patched(content, b"stts", put(">III", 4, 1, many, 1))
    content = patched(content, b"stsz", put(">II", 4, 1, many))
    return patched(content, b"stsc", put(">IIII", 4, 1, 1, many, 1))


def huge_picture(path: Path) -> bytes:
    """Return an mp4 of a JPEG that says it is 20,000 pixels wide and high."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mjpeg", 10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for _ in range(12):
            frame = av.VideoFrame(64, 48, "yuvj420p")
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    content = path.read_bytes().replace(
        struct.pack(">BHH", 8, 48, 64), struct.pack(">BHH", 8, 20000, 20000)
    )
    return patched(content, b"mp4v", put(">HH", 24, 20000, 20000))


LIES: dict[str, Callable[[bytes], bytes]] = {
    "says_20000x": lambda c: patched(
        patched(c, b"avc1", put(">HH", 24, 20000, 20000), 1),
        b"tkhd", put(">II", 76, 20000 << 16, 20000 << 16),
    ),
    "says_long__": lambda c: patched(c, b"mvhd", put(">I", 16, 0xFFFFFFF0)),
    "says_short_": lambda c: patched(c, b"mvhd", put(">I", 16, 1)),
    "says_fast__": lambda c: patched(c, b"mdhd", put(">I", 12, 0x7FFFFFFF)),
    "says_no_clk": lambda c: patched(c, b"mdhd", put(">I", 12, 0)),
    "billion_pic": frames_without_number,
    "zero_times_": lambda c: patched(c, b"stts", put(">I", 12, 0)),
    "far_chunks_": lambda c: patched(c, b"stco", put(">I", 8, 0xFFFFFF00)),
    "says_65535x": lambda c: patched(c, b"avc1", put(">HH", 24, 65535, 65535), 1),
    "no_pictures": lambda c: patched(c, b"stsz", put(">I", 8, 0)),
}  # fmt: skip


@pytest.fixture
def liars(project: Project, tmp_path: Path) -> dict[str, bytes]:
    content = make_video(tmp_path / "plain.mp4", frames=40).read_bytes()
    if content.count(b"avc1") < 2:  # the brand names it once, the description a second time
        content = content.replace(b"ftypisom", b"ftypisom")
    found = {name: change(content) for name, change in LIES.items()}
    found["true_20000x"] = huge_picture(tmp_path / "huge.mp4")
    for name in found:
        project.track(name, 0.1, 0.6)
    project.track("good_video_", 0.1, 0.6)
    found["good_video_"] = content
    project.fetch()
    return found


def assert_each_has_an_outcome(project: Project, liars: dict[str, bytes]) -> None:
    report = limited(project, "verify", "--level", "decode", "--json").json
    clips = report["clips"]
    assert clips["expected"] == len(liars)
    assert clips["complete"] >= 1
    recorded = {
        line["video_id"] for line in project.ledger()
        if line["kind"] in ("track", "clips") or line.get("state") == "failed"
    }  # fmt: skip
    assert recorded == set(liars)
    good = next(one for one in project.lines if one["yid"] == "good_video_")  # type: ignore[index]
    assert project.clip(good).is_file()  # type: ignore[arg-type]
    assert [p for p in project.half_written() if ".partial" not in p.parts] == []
    for path in project.layout.tracks.rglob("*.mp4"):
        assert path.stat().st_size < 1_000_000


@pytest.mark.timeout(600)
def test_videos_on_disk_whose_headers_lie(project: Project, liars: dict[str, bytes]) -> None:
    for name, content in liars.items():
        path = project.layout.video_target(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    before = everything(project.folder, project.root)
    outcome = limited(project, "extract-tracks")
    assert outcome.code in (0, 1), outcome.err
    assert_each_has_an_outcome(project, liars)
    assert everything(project.folder, project.root) == before


def test_videos_from_a_host_whose_headers_lie(
    project: Project, liars: dict[str, bytes], tmp_path: Path
) -> None:
    """Each is refused or taken by the check of a download; one comes by the command line."""
    refused = {}
    for name, content in liars.items():
        path = tmp_path / f"{name}.mp4"
        path.write_bytes(content)
        try:
            check.check_video(path)
        except ItemError as error:
            refused[name] = error.reason
    assert set(refused.values()) <= {"transient", "ambiguous"}
    assert {"billion_pic", "true_20000x", "no_pictures", "far_chunks_"} <= refused.keys()
    assert "good_video_" not in refused
    with HostileServer() as server:
        for name in ("good_video_", "says_20000x", "true_20000x"):
            server.serve(f"{name}.mp4", liars[name])
        config = project.folder / "own.toml"
        config.write_text(
            f'[download]\nurl_template = "{server.url_template}"\n'
            "[download.yt_dlp]\nretries = 0\n[pipeline]\nstorage_wait_seconds = 1\n"
        )
        outcome = limited(project, "--config", str(config), "download-tracks")
        assert outcome.code in (0, 1), outcome.err
    assert_each_has_an_outcome(project, liars)


def test_pictures_larger_than_any_are_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_video(tmp_path / "plain.mp4", frames=12)
    probe.check_video(path, Level.PROBE)
    check.check_video(path)
    monkeypatch.setattr(check, "MOST_PIXELS", 320 * 180 - 1)
    monkeypatch.setattr(probe, "MOST_PIXELS", 320 * 180 - 1)
    with pytest.raises(ItemError, match="320x180, too large") as caught:
        probe.check_video(path, Level.PROBE)
    assert caught.value.reason == "video-damaged"
    with pytest.raises(ItemError, match="320x180, too large") as caught:
        check.check_video(path)
    assert caught.value.reason == "ambiguous"


@pytest.mark.parametrize(("count", "sigma"), [(1, 1), (2, 8), (500, 30), (500, 2000), (3000, 7)])
def test_dense_boxes_are_smoothed_as_others_are(count: int, sigma: int) -> None:
    values = np.random.default_rng(1).uniform(0, 5000, (count, 4))
    found, wanted = _smooth_dense(values, sigma), gaussian_filter1d(values, sigma, axis=0)
    assert np.abs(found - wanted).max() < 1e-8


def test_no_decoder_opens_pictures_without_measure(tmp_path: Path) -> None:
    path = tmp_path / "huge.mp4"
    path.write_bytes(huge_picture(tmp_path / "made.mp4"))
    with pytest.raises(DamagedFileError, match="first frame cannot be decoded"):
        Reader(path)
