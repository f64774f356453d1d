"""The ways of cutting and the parts of a cut, each run in a process of its own."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import numpy as np

from trackverse_cli import plugins
from trackverse_cli.clips import ClipSpan, CutSettings
from trackverse_cli.encode import ClipOrigin, ClipWriter
from trackverse_cli.encoders import encoder_options
from trackverse_cli.extract import Cutter
from trackverse_cli.geometry import plan_tracks
from trackverse_cli.layout import Layout
from trackverse_cli.machine import usable_cores
from trackverse_cli.recipe import recipe_id
from trackverse_cli.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.cut.workload import Workload
    from trackverse_cli.boxes import CropPlan
    from trackverse_cli.metadata import Track

MAX_CLIP_SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class Task:
    """What a part works on: the workload, its video, and a folder for what it writes."""

    workload: Workload
    video: Path
    folder: Path


def _cutter(task: Task) -> Cutter:
    settings = Settings()
    decoder = plugins.choose_decoder("pyav")
    how = CutSettings(
        decoder, decoder.settings(), settings.encode, MAX_CLIP_SECONDS, recipe_id(settings)
    )
    layout = Layout(task.folder / "root")
    layout.tracks.mkdir(parents=True, exist_ok=True)
    return Cutter(layout, how, usable_cores(), threading.Event())


def cut(task: Task) -> dict[str, Any]:
    """The way of `extract-tracks`."""
    with _cutter(task) as cutter:
        outcome = cutter.cut(task.video, task.workload.make_tracks(), lambda _: True, None)
    if len(outcome.done) != task.workload.tracks:
        raise SystemExit(f"clips are missing: {outcome.failed}")
    return {"clips": len(outcome.done), "frames": sum(done.frames for done in outcome.done)}


def cut_eight(task: Task) -> dict[str, Any]:
    """The way of `extract-tracks` with eight videos: as many beside each other as cores."""
    tracks = task.workload.make_tracks()
    with _cutter(task) as cutter, ThreadPoolExecutor(usable_cores()) as pool:
        list(pool.map(lambda _: cutter.cut(task.video, tracks, lambda _: True, None), range(8)))
    return {}


def decode(task: Task) -> dict[str, Any]:
    """Decode every stretch that a track needs, once, on one thread, and do nothing with it."""
    spans = sorted((span.start, span.stop) for _, _, span in _plans(task))
    joined: list[tuple[float, float]] = []
    for start, stop in spans:
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], stop))
        else:
            joined.append((start, stop))
    # Within one group of pictures, going on is no more than seeking.
    frames = sum(_decode_stretch(task.video, *span) for span in joined)
    return {"frames": frames}


def _decode_stretch(video: Path, start: float, stop: float) -> int:
    frames = 0
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        base = stream.time_base or Fraction(1)
        container.seek(int(start / base), stream=stream)
        for frame in container.decode(stream):
            frames += 1
            if float((frame.pts or 0) * base) > stop:
                break
    return frames


def crop_and_encode(task: Task) -> dict[str, Any]:
    """Crop every clip's frames into memory, then encode them; each has its own clock."""
    settings = Settings().encode
    spent = {"crop": 0.0, "encode": 0.0}
    plugin = plugins.choose_decoder("pyav")
    for track, plan, span in _plans(task):
        decoder: Any = plugin.open(task.video, plugin.settings())
        crops = []
        for frame, at in _frames(decoder, span):
            before = time.thread_time()
            crops.append((frame.crop(plan.boxes_at([at]), [plan.clip_size])[0], frame.pts))
            spent["crop"] += time.thread_time() - before
        origin = ClipOrigin(track.track_id, track.video_id, task.workload.size, "r")
        before = time.process_time()
        writer = ClipWriter(
            task.folder / "limit.mp4", plan.clip_size, decoder.info, origin, settings
        )
        for crop, pts in crops:
            writer.add(crop, pts, 0)
        writer.finish()
        spent["encode"] += time.process_time() - before
        decoder.close()
    return spent


def _frames(decoder: Any, span: ClipSpan) -> Iterator[tuple[Any, float]]:
    for frame in decoder.frames([(span.start, span.stop)]):
        at = float(frame.pts * frame.time_base)
        if span.start <= at <= span.stop:
            yield frame, at


def _plans(task: Task) -> list[tuple[Track, CropPlan, ClipSpan]]:
    tracks = task.workload.make_tracks()
    plugin = plugins.choose_decoder("pyav")
    decoder: Any = plugin.open(task.video, plugin.settings())
    plans = plan_tracks(tracks, task.workload.size, None)
    info = decoder.info
    decoder.close()
    found = []
    for track in tracks:
        plan = plans[track.track_id]
        if isinstance(plan, Exception):
            raise plan
        found.append((track, plan, ClipSpan.of(track, info, MAX_CLIP_SECONDS)))
    return found


def ffmpeg(task: Task) -> dict[str, Any]:
    """`ffmpeg` started once a track, with a fixed crop and the same encoder settings."""
    encode = Settings().encode
    every = round(encode.gop_seconds * 30)
    for track, plan, span in _plans(task):
        width, height = plan.clip_size
        x, y = (int(side) for side in plan.boxes[0][:2])
        x, y = min(x, task.workload.size[0] - width), min(y, task.workload.size[1] - height)
        words = ["ffmpeg", "-v", "error", "-y", "-threads", "1", "-ss", f"{span.start:.3f}"]
        words += ["-i", str(task.video), "-t", f"{span.stop - span.start:.3f}", "-an"]
        words += ["-filter:v", f"crop={width}:{height}:{x}:{y}", "-filter_threads", "1"]
        words += ["-c:v", encode.codec, "-threads", "1"]
        for name, value in encoder_options(encode.codec, encode).items():
            words += [f"-{name}:v", value]
        words += ["-g", str(every), "-movflags", "+faststart"]
        subprocess.run([*words, str(task.folder / f"ffmpeg-{track.track_id}.mp4")], check=True)
    return {}


def original(task: Task) -> dict[str, Any]:
    """The way of the scripts that this project replaces, step by step as they do it.

    One track after the other on one thread: open, seek, decode, each picture to PIL; crop it; x264
    `medium` at 1 Mbit/s.
    """
    frames = 0
    for track, plan, span in _plans(task):
        with av.open(str(task.folder / f"original-{track.track_id}.mp4"), "w") as out:
            target = out.add_stream("libx264", rate=30)
            target.width, target.height = plan.clip_size
            target.pix_fmt, target.bit_rate, target.gop_size = "yuv420p", 1_000_000, 15
            target.codec_context.thread_count = 1
            for crop in _original_crops(task.video, track, plan, span):
                out.mux(target.encode(_through_floats(crop)))
                frames += 1
            out.mux(target.encode(None))
    return {"frames": frames}


def _through_floats(crop: NDArray[np.uint8]) -> av.VideoFrame:
    values = (np.array(crop).astype(np.float64) - 0) / 255 * 255
    pixels = np.clip(np.round(values).astype(np.uint8), 0, 255)
    return av.VideoFrame.from_ndarray(pixels, "rgb24")


def _original_crops(
    video: Path, track: Track, plan: CropPlan, span: ClipSpan
) -> Iterator[NDArray[np.uint8]]:
    """Yield crops of whole pixels, resized by PIL, of the whole picture as an array."""
    from PIL import Image

    for picture, at in _original_pictures(video, span):
        # Its time, a fraction, is held against every box's as an object.
        np.flatnonzero(track.frame_ts > at)  # type: ignore[operator]
        x, y, w, h = (int(side) for side in plan.boxes_at([float(at)])[0])
        whole = np.array(picture)[y : y + h, x : x + w]
        yield np.array(Image.fromarray(whole).resize(plan.clip_size))


def _original_pictures(video: Path, span: ClipSpan) -> Iterator[tuple[Any, Fraction]]:
    """Yield each picture of a span as PIL's, with its time."""
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        base, rate = stream.time_base or Fraction(1), stream.average_rate or Fraction(30)
        first = round(Fraction(max(span.start, 0)) * rate)
        container.seek(int(max(span.start, 0) / base), stream=stream)
        for frame in container.decode(stream):
            at = (frame.pts or 0) * base
            if round(at * rate) <= first and at < span.start:
                continue
            if at > span.stop:
                break
            yield frame.to_image(), at  # type: ignore[no-untyped-call]  # PyAV leaves it so


def start(_: Task) -> dict[str, Any]:
    """The interpreter and the imports alone; taken off every other part."""
    plugins.choose_decoder("pyav")
    import scipy.ndimage  # noqa: F401

    import trackverse_pyav.decoder  # noqa: F401

    return {}


PARTS: dict[str, Callable[[Task], dict[str, Any]]] = {
    "cut": cut,
    "cut eight": cut_eight,
    "decode": decode,
    "crop and encode": crop_and_encode,
    "ffmpeg": ffmpeg,
    "original": original,
    "start": start,
}


def has_ffmpeg() -> bool:
    """Say whether there is an `ffmpeg` to compare with."""
    return shutil.which("ffmpeg") is not None
