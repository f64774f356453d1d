"""The whole job on a small dataset that is made and served on this machine."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np

from trackverse_cli.errors import UsageError
from trackverse_cli.files import atomic_write_bytes, make_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

MARKER = ".trackverse-demo"
METADATA = "Demo.jsonl.gzip"
SAMPLES_PER_SECOND = 16
HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class DemoObject:
    """Something that moves: a disc on an ellipse about a place.

    Attributes:
        label: its class.
        colour: (red, green, blue).
        centre: of its path, as shares of the frame.
        radius: of the disc, as a share of the frame's height.
        turn_seconds: for one round.
        seen: (first, last) second of its track.
    """

    label: str
    colour: tuple[int, int, int]
    centre: tuple[float, float]
    radius: float
    turn_seconds: float
    seen: tuple[float, float]

    def place(self, at: float) -> tuple[float, float]:
        """Return where its centre is at a time in seconds, as shares of the frame."""
        angle = 2 * np.pi * at / self.turn_seconds
        return self.centre[0] + 0.15 * np.cos(angle), self.centre[1] + 0.2 * np.sin(angle)


@dataclass(frozen=True, slots=True)
class DemoVideo:
    """One video of the demo."""

    video_id: str
    size: tuple[int, int]
    rate: Fraction
    seconds: int
    objects: tuple[DemoObject, ...]


_RED, _BLUE, _GOLD = (214, 66, 54), (52, 104, 210), (236, 180, 46)
VIDEOS = (
    DemoVideo(
        "demo-video1", (1280, 720), Fraction(25), 8,
        (
            DemoObject("balloon", _RED, (0.3, 0.45), 0.16, 16.0, (0.5, 5.5)),
            DemoObject("ball", _BLUE, (0.7, 0.5), 0.14, 12.0, (2.0, 7.5)),
        ),
    ),
    DemoVideo(
        "demo_ntsc_2", (1280, 720), Fraction(30000, 1001), 8,
        (
            DemoObject("ball", _GOLD, (0.5, 0.5), 0.2, 15.0, (0.0, 4.0)),
            DemoObject("balloon", _RED, (0.2, 0.4), 0.13, 11.0, (3.0, 7.8)),
            DemoObject("ball", _BLUE, (0.8, 0.6), 0.12, 18.0, (1.0, 6.0)),
        ),
    ),
    DemoVideo(
        "-demo-small", (640, 480), Fraction(24), 6,
        (DemoObject("balloon", _GOLD, (0.5, 0.5), 0.18, 12.0, (0.25, 5.5)),),
    ),
)  # fmt: skip
"""One of them at 29.97 frames a second, one of another size, one whose id begins with a dash."""


def run_demo(root: Path, say: Callable[[str], None]) -> int:
    """Make, serve, fetch, download, cut and verify the demo dataset.

    Args:
        root: the dataset folder; a new one, or one of an earlier demo.
        say: takes the lines for the person who watches.

    Returns:
        The exit code of the first command that failed, or 0.

    Raises:
        UsageError: `root` holds something else.
    """
    if root.is_dir() and any(root.iterdir()) and not (root / MARKER).exists():
        raise UsageError(f"{root} holds something that is no demo; name another with --root DIR")
    make_folder(root, "the demo's folder")
    (root / MARKER).touch()
    with tempfile.TemporaryDirectory(prefix="trackverse-demo-") as source:
        say(f"Making {len(VIDEOS)} videos with moving objects ...")
        _make_source(Path(source))
        with _served(Path(source)) as address:
            config = root / "trackverse.toml"
            atomic_write_bytes(config, _config_text(root, address).encode())
            for words in (
                ["fetch-meta", f"{address}/{METADATA}"],
                ["submit", "--world-size", "2"],
                ["verify", "--level", "decode"],
            ):
                say(f"\n$ trackverse --config {config} {' '.join(words)}")
                command = [sys.executable, "-m", "trackverse_cli", "--config", str(config), *words]
                code = subprocess.run(command, env=_own_environment(), check=False).returncode
                if code:
                    return code
    say(f"\nThe clips are in {root / 'tracks_mp4'}, the videos in {root / 'videos_mp4'},")
    say(f"what happened in {root / 'ledger'}, the ranks' logs in {root / 'logs'}.")
    return 0


def _own_environment() -> dict[str, str]:
    """Return the environment without the settings that belong to the person's own dataset.

    A proxy that it names leads out, and never to the demo's own server.
    """
    env = {name: value for name, value in os.environ.items() if not name.startswith("TRACKVERSE_")}
    return env | dict.fromkeys(("no_proxy", "NO_PROXY"), HOST)


def _config_text(root: Path, address: str) -> str:
    return (
        "# Written by `trackverse demo`; its server is gone when the demo has ended.\n"
        f"[dataset]\nroot = {json.dumps(str(root))}\n"
        f"[download]\nurl_template = {json.dumps(address + '/{video_id}.mp4')}\n"
    )


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine alone; yield its address."""
    handler = partial(_Quiet, directory=str(folder))
    with _Server((HOST, 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://{HOST}:{server.server_address[1]}"
        finally:
            server.shutdown()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a connection that its other end has closed: a probe reads a beginning."""
        if not isinstance(sys.exception(), BrokenPipeError | ConnectionResetError):
            super().handle_error(request, client_address)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_args: Any) -> None:
        """Keep the requests out of what the person reads."""


def _make_source(folder: Path) -> None:
    lines = []
    for video in VIDEOS:
        _write_video(folder / f"{video.video_id}.mp4", video)
        lines += [json.dumps(_track_line(video, thing)) for thing in video.objects]
    (folder / METADATA).write_bytes(gzip.compress("\n".join(lines).encode() + b"\n", mtime=0))


def _track_line(video: DemoVideo, thing: DemoObject) -> dict[str, Any]:
    """Return one line of metadata in the dialect of the current release."""
    width, height = video.size
    first, last = thing.seen
    times = np.arange(first, last, 1 / SAMPLES_PER_SECOND)
    side = 2.4 * thing.radius * height
    boxes = []
    for at in times.tolist():
        x, y = thing.place(at)
        boxes.append([x * width - side / 2, y * height - side / 2, side, side])
    track_id = hashlib.blake2b(f"{video.video_id}{thing}".encode(), digest_size=16).hexdigest()
    clip = f"Demo/{video.video_id[:2]}/{video.video_id}-{thing.label}-{track_id}.mp4"
    return {
        "track_id": track_id,
        "yid": video.video_id,
        "track_ts": [first, float(times[-1])],
        "frame_ts": times.tolist(),
        "frame_bboxes": np.round(boxes, 2).tolist(),
        "track_mp4_filename": clip,
        "top10_label_ids": [1 if thing.label == "ball" else 2],
        "top10_label_names": [thing.label],
    }


def _write_video(path: Path, video: DemoVideo) -> None:
    width, height = video.size
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=video.rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.options = {"preset": "ultrafast", "crf": "20"}
        for number in range(int(video.seconds * video.rate)):
            picture = _picture(video, float(number / video.rate))
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        out.mux(stream.encode(None))


def _picture(video: DemoVideo, at: float) -> NDArray[np.uint8]:
    width, height = video.size
    across = 40 * np.sin(np.arange(width) / 90 + at / 3)
    down = 150 + 30 * np.cos(np.arange(height) / 70)
    ground = (down[:, None] + across[None, :]).astype(np.uint8)
    picture = np.repeat(ground[..., None], 3, axis=2)
    for thing in video.objects:
        x, y = thing.place(at)
        _draw_disc(picture, x * width, y * height, thing.radius * height, thing.colour)
        _draw_disc(picture, x * width, y * height, thing.radius * height / 3, (250, 250, 250))
    return picture


def _draw_disc(
    picture: NDArray[np.uint8], x: float, y: float, radius: float, colour: tuple[int, int, int]
) -> None:
    top, left = max(0, int(y - radius)), max(0, int(x - radius))
    part = picture[top : int(y + radius) + 2, left : int(x + radius) + 2]
    rows, columns = np.ogrid[top : top + part.shape[0], left : left + part.shape[1]]
    part[(columns - x) ** 2 + (rows - y) ** 2 < radius**2] = colour
