"""What loading costs: clips per second of `TrackDataset`, beside plain PyAV in the same run.

Clips of real length at 30 frames a second are made once, as files and again in tar shards. Plain
PyAV opens a clip, decodes it from its start as far as it must, and scales the chosen frames; it
knows nothing of ids, labels or shards. `python -m benchmarks.loading [--clips 60] [--seconds 6]`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import shutil
import tempfile
import time
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import torch
from torch.utils.data import DataLoader

from trackverse_cli.dataset import FrameSampling, TrackDataset
from trackverse_cli.encode import ClipOrigin, ClipWriter
from trackverse_cli.fetch import fetch_metadata
from trackverse_cli.interfaces import Colour, VideoInfo
from trackverse_cli.layout import Layout
from trackverse_cli.outputs import Member, ShardWriter, shards_folder
from trackverse_cli.recipe import recipe_id
from trackverse_cli.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

RATE, SIDE, OUT = 30, 256, (112, 112)
SAMPLINGS = {
    "16 frames, uniform over the clip": FrameSampling(16),
    "16 frames in a row, anywhere": FrameSampling(16, mode="random"),
    "1 frame, anywhere": FrameSampling(1, mode="random"),
}


def pictures(frames: int) -> list[av.VideoFrame]:
    """Make a camera's slow pan over a textured ground."""
    random = np.random.default_rng(7)
    coarse = random.integers(0, 255, (60, 60, 3), dtype=np.uint8)
    ground = av.VideoFrame.from_ndarray(coarse, "rgb24").reformat(SIDE * 3, SIDE * 3).to_ndarray()
    ground = (ground * 0.8 + random.integers(0, 50, ground.shape)).astype(np.uint8)
    made = []
    for number in range(frames):
        x, y = int(250 + 240 * np.sin(number / 40)), int(250 + 240 * np.cos(number / 50))
        view = np.ascontiguousarray(ground[y : y + SIDE, x : x + SIDE])
        made.append(av.VideoFrame.from_ndarray(view, "rgb24").reformat(format="yuv420p"))
    return made


def make_dataset(root: Path, clips: int, seconds: float) -> tuple[Layout, list[Path]]:
    """Write the metadata of so many clips, its index, and the clips as files."""
    layout, settings = Layout(root), Settings()
    frames = pictures(round(seconds * RATE))
    info = VideoInfo(1280, 720, Fraction(RATE), Fraction(1, 512 * RATE), 60.0, "h264", Colour())
    lines, paths = [], []
    for number in range(clips):
        video_id, track_id = f"video-{number // 4:05d}", f"t{number:05d}"
        name = f"Bench/{video_id}-{track_id}.mp4"
        path = layout.tracks / name
        path.parent.mkdir(parents=True, exist_ok=True)
        origin = ClipOrigin(track_id, video_id, (1280, 720), recipe_id(settings))
        writer = ClipWriter(path, (SIDE, SIDE), info, origin, settings.encode)
        shift = 7 * number % len(frames)
        for pts, frame in enumerate(frames[shift:] + frames[:shift]):
            writer.add(frame, 512 * pts, 0)
        writer.finish()
        paths.append(path)
        lines.append(
            {
                "track_id": track_id, "yid": video_id, "frame_ts": [0.0, seconds],
                "frame_bboxes": [[9, 9, 256, 256]] * 2, "track_mp4_filename": name,
                "top10_label_ids": [number % 5], "top10_label_names": [f"class {number % 5}"],
            }
        )  # fmt: skip
    source = root / "Bench.jsonl.gzip"
    source.write_bytes(gzip.compress("\n".join(map(json.dumps, lines)).encode()))
    fetch_metadata(str(source), layout, make_index=True)
    return layout, paths


def into_shards(layout: Layout, paths: list[Path], frames: int, root: Path) -> None:
    """Put the same clips into shards of another root, which shares the index."""
    for name in ("metadata", "index"):
        shutil.copytree(layout.root / name, root / name)
    folder = shards_folder(Layout(root))
    with ShardWriter(folder, "extract-tracks", 0, 1, "0123456789ab", max_bytes=8 << 20) as writer:
        for path in paths:
            video_id, track_id = path.stem[:11], path.stem[12:]
            name = path.relative_to(layout.tracks).as_posix()
            if writer.is_full:
                writer.roll()
            recipe = recipe_id(Settings())
            writer.add(path, Member(video_id, track_id, name, 0, "", frames, recipe))


def plain(paths: list[Path], sampling: FrameSampling) -> Iterable[Any]:
    """Read the chosen frames of each clip the plain way."""
    for number, path in enumerate(paths):
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "NONE"
            stream.codec_context.thread_count = 1
            wanted = set(sampling.pick(stream.frames, number).tolist())
            last = max(wanted)
            chosen = []
            for place, frame in enumerate(container.decode(stream)):
                if place in wanted:
                    chosen.append(frame.reformat(OUT[1], OUT[0], "rgb24").to_ndarray())
                if place == last:
                    break
        yield torch.from_numpy(np.stack(chosen)).permute(0, 3, 1, 2).contiguous()


def loaded(root: Path, sampling: FrameSampling, workers: int) -> Iterable[Any]:
    """Load every clip through a DataLoader."""
    data = TrackDataset(root, frames=sampling, size=OUT)
    return DataLoader(
        data, batch_size=4, num_workers=workers, multiprocessing_context=_fork(workers)
    )


def _fork(workers: int) -> str | None:
    return "fork" if workers else None


def rate(make: Callable[[], Iterable[Any]], clips: int, rounds: int) -> float:
    """Return clips per second of the best of some rounds, the start of workers left out."""
    best = 0.0
    for _ in range(rounds):
        source = make()
        begin = time.monotonic()
        for _item in source:
            pass
        best = max(best, clips / (time.monotonic() - begin))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="trackverse-loading-") as folder:
        files, shards = Path(folder) / "files", Path(folder) / "shards"
        files.mkdir()
        layout, paths = make_dataset(files, options.clips, options.seconds)
        into_shards(layout, paths, round(options.seconds * RATE), shards)
        size = sum(path.stat().st_size for path in paths) / len(paths) / 1e3
        print(
            f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, PyAV "
            f"{av.__version__}, torch {torch.__version__}, {os.cpu_count()} cores; "
            f"{options.clips} clips of {options.seconds:g} s at {SIDE}x{SIDE}, {size:.0f} kB each, "
            f"scaled to {OUT[1]}x{OUT[0]}; clips a second, best of {options.rounds}\n"
        )
        print("| | plain PyAV | files | shards | files, 2 workers | shards, 2 workers |")
        print("| --- | --- | --- | --- | --- | --- |")
        for told, sampling in SAMPLINGS.items():
            ways: list[Callable[[], Iterable[Any]]] = [
                lambda s=sampling: plain(paths, s),  # type: ignore[misc]
                *(
                    lambda s=sampling, r=root, w=workers: loaded(r, s, w)
                    for workers in (0, 2)
                    for root in (files, shards)
                ),
            ]
            rates = [rate(way, options.clips, options.rounds) for way in ways]
            print(f"| {told} | " + " | ".join(f"{one:.0f}" for one in rates) + " |", flush=True)


if __name__ == "__main__":
    main()
