"""A stranger's executor and decoder, installed into a fresh environment, do the whole job."""

from __future__ import annotations

import json
import os
import site
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.project import Project

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "{name}"
version = "3.1"
[project.entry-points.trackverse]
{key} = "{module}"
[tool.hatch.build.targets.wheel]
packages = ["{module}"]
"""

EXECUTOR = '''
"""Runs ranks one after the other when it is asked how they fare; remembers them in a file."""
import os, pathlib, subprocess
from pydantic import BaseModel
from trackverse_cli import hookimpl
from trackverse_cli.interfaces import ExecutorPlugin, Task, TaskState

class Settings(BaseModel):
    nice: int = 0

class OneByOne:
    def __init__(self, settings):
        self.settings, self.jobs = settings, {}

    def submit(self, job):
        tasks = [Task("stranger", rank, str(job.log_dir / f"{rank}.code")) for rank in job.ranks]
        self.jobs.update((task, job) for task in tasks)
        return tasks

    def poll(self, tasks):
        for task in tasks:
            if task in self.jobs and not pathlib.Path(task.handle).exists():
                self.run(self.jobs[task], task)
                break
        return {task: self.state(task) for task in tasks}

    def run(self, job, task):
        pathlib.Path(task.handle + ".nice").write_text(f"nice {self.settings.nice}")
        with job.log_path(task.rank).open("wb") as log:
            done = subprocess.run(
                job.words(task.rank), env={**os.environ, **job.env}, stdout=log, stderr=log
            )
        pathlib.Path(task.handle).write_text(str(done.returncode))

    def state(self, task):
        path = pathlib.Path(task.handle)
        if not path.exists():
            return TaskState.PENDING
        ended = {"0": TaskState.SUCCEEDED, "75": TaskState.STOPPED}
        return ended.get(path.read_text(), TaskState.FAILED)

    def cancel(self, tasks):
        for task in tasks:
            path = pathlib.Path(task.handle)
            if not path.exists():
                path.write_text("cancelled")

@hookimpl
def trackverse_register_executor():
    return ExecutorPlugin("stranger", "one by one", Settings, OneByOne, foreground=True)
'''

DECODER = '''
"""Decodes everything, and cuts boxes at whole pixels with swscale."""
from fractions import Fraction
import av
import numpy as np
from pydantic import BaseModel
from trackverse_cli import hookimpl
from trackverse_cli.errors import DamagedFileError
from trackverse_cli.interfaces import Colour, DecoderPlugin, VideoInfo

class Settings(BaseModel):
    pass

class Frame:
    def __init__(self, frame):
        self.pts, self.time_base, self.frame = frame.pts, frame.time_base, frame

    def crop(self, boxes, sizes):
        whole = self.frame.to_ndarray(format="rgb24")
        crops = []
        for (x, y, w, h), (width, height) in zip(boxes.round().astype(int), sizes):
            x, y = min(x, whole.shape[1] - 2), min(y, whole.shape[0] - 2)
            part = np.ascontiguousarray(whole[y : y + max(2, h), x : x + max(2, w)])
            crop = av.VideoFrame.from_ndarray(part, "rgb24")
            crops.append(crop.reformat(width, height, "yuv420p"))
        return crops

class Simple:
    hw_encoder = None

    def __init__(self, path, settings):
        try:
            self.container = av.open(str(path))
            self.stream = self.container.streams.video[0]
        except (av.error.FFmpegError, IndexError) as error:
            raise DamagedFileError(f"cannot read {path}: {error}") from error
        s = self.stream
        self.info = VideoInfo(
            s.width, s.height, s.average_rate, s.time_base, float(s.duration * s.time_base),
            s.codec_context.name, Colour(),
        )

    def frames(self, spans):
        try:
            for frame in self.container.decode(self.stream):
                yield Frame(frame)
        except av.error.FFmpegError as error:
            raise DamagedFileError(f"the video breaks off: {error}") from error

    def close(self):
        self.container.close()

@hookimpl
def trackverse_register_decoder():
    return DecoderPlugin("strange", "decodes it all", Settings, Simple)
'''

CONTRACTS = """
from trackverse_cli.plugins import choose_decoder, choose_executor
from trackverse_cli.testing import DecoderContract, ExecutorContract

class TestExecutor(ExecutorContract):
    def make_executor(self):
        plugin = choose_executor("stranger")
        return plugin.create(plugin.settings())

    # It starts nothing until it is asked, and then stays until the rank has ended.
    test_cancel_ends_what_runs = None
    test_another_process_polls_and_cancels = None
    test_a_killed_rank_ends = None

class TestDecoder(DecoderContract):
    goes_on = False  # it ends at what it cannot decode

    # It shows coded pictures as they are.
    test_rotated_videos = None
    test_videos_with_wide_pixels = None

    def make_decoder(self, path):
        plugin = choose_decoder("strange")
        return plugin.open(path, plugin.settings())
"""


def run(*words: str | Path, **how: object) -> str:
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, check=False, **how  # type: ignore[call-overload]
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment with two packages of strangers."""
    folder = tmp_path_factory.mktemp("stranger")
    run(sys.executable, "-m", "virtualenv", "--quiet", "--no-download", folder / "env")
    found = folder / "env" / "bin" / "python"
    place = Path(run(found, "-c", "import site; print(site.getsitepackages()[0])").strip())
    # What is installed here is seen there too, so that nothing large is brought once more.
    beside = [path for path in site.getsitepackages() if Path(path).is_dir()]
    place.joinpath("beside.pth").write_text(
        "".join(f"import site; site.addsitedir({path!r})\n" for path in beside)
    )
    packages = []
    for name, module, source in (
        ("strange-cluster", "strange_cluster", EXECUTOR),
        ("strange-pictures", "strange_pictures", DECODER),
    ):
        package = folder / name
        (package / module).mkdir(parents=True)
        # Both packages use the same key, as strangers may.
        text = PYPROJECT.format(name=name, key="mine", module=module)
        (package / "pyproject.toml").write_text(text)
        (package / module / "__init__.py").write_text(textwrap.dedent(source))
        packages.append(package)
    pip = (found, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation")
    run(*pip, "--no-index", *packages)
    return found


def test_strangers_do_the_whole_job(python: Path, project: Project) -> None:
    for video_id in ("abcdefghijk", "-bcdefghijk", "zbcdefghijk"):
        project.video(video_id, frames=60)
        for start in (0.2, 0.9):
            project.track(video_id, start, start + 0.8)
    project.fetch()
    (project.folder / "trackverse.toml").write_text(
        '[extract]\ndecoder = "strange"\n[executor.stranger]\nnice = 5\n'
    )
    env = {**os.environ, "TRACKVERSE_DB": str(project.root)}
    command = (python, "-m", "trackverse_cli")
    listed = json.loads(run(*command, "plugins", "--json", env=env))["plugins"]
    found = {(row["kind"], row["name"]): (row["source"], row["problem"]) for row in listed}
    assert found["executor", "stranger"] == ("strange-cluster 3.1", None)
    assert found["decoder", "strange"] == ("strange-pictures 3.1", None)
    assert {("executor", "local"), ("decoder", "pyav")} <= set(found)

    submit = ("submit", "--executor", "stranger", "--stage", "extract-tracks", "--world-size", "2")
    run(*command, *submit, env=env)
    verified = json.loads(run(*command, "verify", "--level", "decode", "--json", env=env))
    assert verified["complete"] is True
    assert verified["clips"]["complete"] == 6
    assert sorted(path.name for path in project.layout.logs.rglob("*.code")) == ["0.code", "1.code"]
    assert {path.read_text() for path in project.layout.logs.rglob("*.nice")} == {"nice 5"}
    assert all(project.clip(line).is_file() for line in project.lines if isinstance(line, dict))


def test_strangers_keep_the_published_contracts(python: Path, tmp_path: Path) -> None:
    suite = tmp_path / "test_contracts.py"
    suite.write_text(CONTRACTS)
    told = run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", suite, cwd=tmp_path)
    assert "24 passed" in told
