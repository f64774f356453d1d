"""A small dataset in a temporary folder, and the command line on it: what most tests stand on.

project = Project(tmp_path)
project.video("abcdefghijk", size=(320, 180), frames=100)
project.track("abcdefghijk", 0.5, 2.0)
project.fetch()
project.run("extract-tracks").exits(0)
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from typer.testing import CliRunner

from tests.videos import disc_centre, make_video
from trackverse_cli.app import app
from trackverse_cli.layout import Layout

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Outcome:
    """What a command answered."""

    code: int
    out: str
    err: str

    def exits(self, code: int) -> Outcome:
        assert self.code == code, f"exit code {self.code}, not {code}\n{self.out}\n{self.err}"
        return self

    def says(self, *words: str) -> Outcome:
        told = " ".join((self.out + self.err).split())
        for word in words:
            assert word in told, f"{word!r} is not in:\n{told}"
        assert "Traceback" not in told
        return self

    @property
    def json(self) -> dict[str, Any]:
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value


@dataclass
class Project:
    """A dataset folder, its source videos and its metadata."""

    folder: Path
    name: str = "Tiny"
    lines: list[dict[str, Any] | bytes] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def layout(self) -> Layout:
        return Layout(self.root)

    def video(self, video_id: str, **how: Any) -> Path:
        """Make a video and put it where a download would."""
        return make_video(self.layout.video_target(video_id), **how)

    def track(
        self,
        video_id: str,
        first: float,
        last: float,
        *,
        size: tuple[int, int] = (320, 180),
        box: float = 0.5,
        **other: Any,
    ) -> dict[str, Any]:
        """Add a track of the moving disc, in the dialect of the current release."""
        width, height = size
        times = np.arange(first, last, 1 / 16).round(4).tolist()
        side = box * height
        boxes = []
        for at in times:
            x, y = disc_centre(at)
            boxes.append([x * width - side / 2, y * height - side / 2, side, side])
        number = len(self.lines)
        line = {
            "track_id": f"t{number:04d}",
            "yid": video_id,
            "track_ts": [first, last],
            "frame_ts": times,
            "frame_bboxes": boxes,
            "track_mp4_filename": f"Tiny/{video_id[:2]}/{video_id}-disc-t{number:04d}.mp4",
            "top10_label_ids": [7],
            "top10_label_names": ["disc"],
        } | other
        self.lines.append(line)
        return line

    def write_metadata(self) -> Path:
        path = self.folder / f"{self.name}.jsonl.gzip"
        text = [x if isinstance(x, bytes) else json.dumps(x).encode() for x in self.lines]
        path.write_bytes(gzip.compress(b"".join(line + b"\n" for line in text)))
        return path

    def fetch(self) -> Outcome:
        """Write the metadata and have it indexed."""
        return self.run("fetch-meta", str(self.write_metadata())).exits(0)

    def run(self, *words: str) -> Outcome:
        """Run a command in this process."""
        env = {"TRACKVERSE_DB": str(self.root), "COLUMNS": "200", **self.env}
        result = CliRunner().invoke(app, list(words), env=env)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Outcome(result.exit_code, result.stdout, result.stderr)

    def command(self, *words: str) -> tuple[list[str], dict[str, str]]:
        """Return the words and the environment of a command in a process of its own."""
        env = {**os.environ, "TRACKVERSE_DB": str(self.root), "COLUMNS": "200", **self.env}
        return [sys.executable, "-m", "trackverse_cli", *words], env

    def spawn(self, *words: str) -> Outcome:
        """Run a command in a process of its own."""
        command, env = self.command(*words)
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        return Outcome(done.returncode, done.stdout, done.stderr)

    def nth_clip(self, number: int) -> Path:
        """Return where the clip of a track belongs, counted from 0."""
        line = self.lines[number]
        assert isinstance(line, dict)
        return self.clip(line)

    def clip(self, line: dict[str, Any]) -> Path:
        return self.layout.tracks / str(line["track_mp4_filename"])

    def ledger(self) -> list[dict[str, Any]]:
        """Return every line of every ledger file."""
        files = sorted(self.layout.ledger.glob("*.jsonl"))
        return [json.loads(line) for path in files for line in path.read_text().splitlines()]

    def half_written(self) -> list[Path]:
        """Return whatever looks unfinished below the root."""
        return [p for p in self.root.rglob("*") if p.name.endswith((".tmp", ".part", ".ytdl"))]
