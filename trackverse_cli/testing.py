"""Contract suites for plugins: subclass one, say how yours is made, and pytest runs it.

    from trackverse_cli.testing import ExecutorContract
    class TestMyExecutor(ExecutorContract):
        def make_executor(self) -> Executor:
            return MyExecutor(MySettings())

A suite asks what `trackverse_cli.interfaces` promises and the core relies on.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from trackverse_cli.errors import DamagedFileError
from trackverse_cli.interfaces import Decoder, Executor, Job, Task, TaskState, close_decoder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_RANK = """
import json, os, sys, time
plan, rank = json.loads(sys.argv[1]), sys.argv[sys.argv.index("--rank") + 1]
seconds, code = plan.get(rank, [0, 0])
first = {"words": sys.argv[2:], "env": os.environ.get("CONTRACT_WORD"), "pid": os.getpid()}
print(json.dumps(first), flush=True)
end = time.monotonic() + seconds
while time.monotonic() < end:
    print("at work", flush=True)
    time.sleep(0.1)
sys.exit(code)
"""

# Words that a shell would change if it were given them bare.
ODD_WORDS = ("two words", "it's", 'say "so"', "$HOME", "a;b", "*", "back\\slash", "", "ü")


def _said_something(log: Path) -> bool:
    return log.is_file() and "{" in log.read_text(encoding="utf-8")


class ExecutorContract:
    """What every executor does.

    Attributes:
        limit_seconds: how long a job of a few short ranks may take; a scheduler needs more.
        python: the interpreter, as the place where ranks run calls it.
    """

    limit_seconds = 60.0
    python = sys.executable

    def make_executor(self) -> Executor:
        """Return a new executor; called anew for every test, and to poll as a later process."""
        raise NotImplementedError

    def job(
        self,
        folder: Path,
        ranks: Sequence[int],
        plan: Mapping[int, tuple[float, int]] | None = None,
        words: Sequence[str] = (),
    ) -> Job:
        """Return a job whose rank R stays for plan[R][0] seconds and exits with plan[R][1]."""
        log_dir = folder / "logs of a job"
        log_dir.mkdir()
        command = (self.python, "-c", _RANK, json.dumps(dict(plan or {})), *words)
        return Job("contract", command, 5, tuple(ranks), log_dir, {"CONTRACT_WORD": "it's $HOME"})

    def ended(self, executor: Executor, tasks: Sequence[Task]) -> Mapping[Task, TaskState]:
        """Poll until every task has ended; return the states."""
        self.until(lambda: all(state.ended for state in executor.poll(tasks).values()))
        return executor.poll(tasks)

    def until(self, true: Callable[[], bool]) -> None:
        """Wait until something is true; fail after `limit_seconds`."""
        deadline = time.monotonic() + self.limit_seconds
        while not true():
            assert time.monotonic() < deadline, f"not so after {self.limit_seconds} s"
            time.sleep(0.05)

    def said(self, job: Job, rank: int) -> dict[str, Any]:
        """Return what a rank printed first: its words and the variable of the job."""
        log = job.log_path(rank).read_text(encoding="utf-8")
        lines = [line for line in log.splitlines() if line.startswith("{")]
        assert len(lines) == 1, f"rank {rank} ran {len(lines)} times"
        return dict(json.loads(lines[0]))

    def test_runs_every_rank_with_its_words_and_its_log(self, tmp_path: Path) -> None:
        """Each given rank runs `command --rank R --world-size W` once, and no other rank does."""
        executor, job = self.make_executor(), self.job(tmp_path, [0, 1, 4])
        tasks = executor.submit(job)
        assert [task.rank for task in tasks] == [0, 1, 4]
        assert set(self.ended(executor, tasks).values()) == {TaskState.SUCCEEDED}
        for rank in job.ranks:
            said = self.said(job, rank)
            assert said["words"] == ["--rank", str(rank), "--world-size", "5"]
            assert said["env"] == "it's $HOME"
        assert not job.log_path(2).exists()

    def test_hands_odd_words_on_unchanged(self, tmp_path: Path) -> None:
        """Spaces, quotes, dollars and empty words arrive as they were given."""
        executor, job = self.make_executor(), self.job(tmp_path, [0], words=ODD_WORDS)
        self.ended(executor, executor.submit(job))
        assert self.said(job, 0)["words"][: len(ODD_WORDS)] == list(ODD_WORDS)

    def test_reports_how_each_rank_ended(self, tmp_path: Path) -> None:
        """Exit code 0 is succeeded, 75 stopped, any other failed."""
        executor, plan = self.make_executor(), {1: (0, 1), 2: (0, 75)}
        tasks = executor.submit(self.job(tmp_path, [0, 1, 2], plan))
        assert [self.ended(executor, tasks)[task] for task in tasks] == [
            "succeeded",
            "failed",
            "stopped",
        ]

    def test_tasks_survive_json(self, tmp_path: Path) -> None:
        """A task that was written as JSON and read again is the same task."""
        executor = self.make_executor()
        tasks = executor.submit(self.job(tmp_path, [0, 1]))
        assert len(set(tasks)) == 2
        again = [Task(**json.loads(json.dumps(asdict(task)))) for task in tasks]
        assert again == list(tasks)
        assert set(self.ended(executor, again).values()) == {TaskState.SUCCEEDED}

    def test_cancel_ends_what_runs(self, tmp_path: Path) -> None:
        """Cancelled ranks end and write no more; ended ones keep their state."""
        executor, job = self.make_executor(), self.job(tmp_path, [0, 1], {1: (3600, 0)})
        tasks = executor.submit(job)
        self.until(lambda: executor.poll(tasks)[tasks[0]].ended and job.log_path(1).is_file())
        executor.cancel(tasks)
        states = self.ended(executor, tasks)
        assert [states[task] is TaskState.SUCCEEDED for task in tasks] == [True, False]
        written = job.log_path(1).read_bytes()
        time.sleep(0.5)
        assert job.log_path(1).read_bytes() == written

    def test_another_process_polls_and_cancels(self, tmp_path: Path) -> None:
        """What was submitted here can be looked at, and ended, by an executor made elsewhere."""
        executor = self.make_executor()
        job = self.job(tmp_path, [0, 1, 2], {1: (3600, 0), 2: (0, 75)})
        tasks = executor.submit(job)
        self.until(lambda: executor.poll(tasks)[tasks[0]].ended and job.log_path(1).is_file())
        self.until(lambda: executor.poll(tasks)[tasks[2]].ended)
        other = self.make_executor()
        assert [other.poll(tasks)[task] for task in tasks] == ["succeeded", "running", "stopped"]
        other.cancel(tasks[1:2])
        self.until(
            lambda: other.poll(tasks)[tasks[1]].ended or executor.poll(tasks)[tasks[1]].ended
        )
        self.until(lambda: other.poll(tasks)[tasks[1]] == TaskState.FAILED)

    def test_a_killed_rank_ends(self, tmp_path: Path) -> None:
        """A rank that is killed is run again or has failed; it never hangs, and never succeeds."""
        executor, job = self.make_executor(), self.job(tmp_path, [0], {0: (3600, 0)})
        tasks = executor.submit(job)
        self.until(lambda: bool(executor.poll(tasks)) and _said_something(job.log_path(0)))
        killed: set[int] = set()

        def is_over() -> bool:
            for line in job.log_path(0).read_text(encoding="utf-8").splitlines():
                pid = json.loads(line)["pid"] if line.startswith("{") else 0
                if pid and pid not in killed:
                    killed.add(pid)
                    self.kill(pid)
            return executor.poll(tasks)[tasks[0]].ended

        self.until(is_over)
        assert executor.poll(tasks)[tasks[0]] is TaskState.FAILED

    def kill(self, pid: int) -> None:
        """Kill the process of a rank at once; of another machine, by other means."""
        os.kill(pid, signal.SIGKILL)


class DecoderContract:
    """What every decoder does, on small videos that PyAV makes and reads as the reference."""

    size = (320, 180)
    rate = Fraction(30000, 1001)
    frame_count = 120

    def make_decoder(self, path: Path) -> Decoder:
        """Return the decoder opened on `path`."""
        raise NotImplementedError

    def video(self, folder: Path) -> Path:
        """Write a video with B-frames whose left third is dark and whose rest is bright."""
        import av
        import numpy as np

        path = folder / "a video.mp4"
        width, height = self.size
        with av.open(str(path), "w") as out:
            stream = out.add_stream("libx264", rate=self.rate)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.codec_context.gop_size = 30
            for number in range(self.frame_count):
                picture = np.full((height * 3 // 2, width), 128, np.uint8)
                picture[:height] = 200
                picture[:height, : width // 3] = 40
                picture[: height // 8] = 16 + number
                frame = av.VideoFrame.from_ndarray(picture, "yuv420p")
                frame.pts, frame.time_base = number, 1 / self.rate
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
        return path

    def truth(self, path: Path) -> tuple[list[int], Fraction]:
        """Return the pts of every frame as PyAV reads them, and their time base."""
        import av

        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            assert stream.time_base is not None
            return [f.pts for f in container.decode(stream) if f.pts is not None], stream.time_base

    def test_says_what_the_video_is(self, tmp_path: Path) -> None:
        """Size, rate, time base, duration and codec are the file's."""
        path = self.video(tmp_path)
        info = self.make_decoder(path).info
        assert (info.width, info.height) == self.size
        assert (info.rate, info.time_base) == (self.rate, self.truth(path)[1])
        assert info.codec == "h264"
        assert abs((info.duration_seconds or 4.0) - self.frame_count / self.rate) < 0.1

    def test_brings_every_frame_once_and_in_order(self, tmp_path: Path) -> None:
        """A span over all of the video brings all of its frames."""
        path = self.video(tmp_path)
        expected, time_base = self.truth(path)
        frames = self.make_decoder(path).frames([(0.0, 1e6)])
        assert [(f.pts, f.time_base) for f in frames] == [(pts, time_base) for pts in expected]

    def test_misses_no_frame_of_a_span(self, tmp_path: Path) -> None:
        """Spans out of order, overlapping, of one instant and beyond the end are honoured."""
        path = self.video(tmp_path)
        expected, base = self.truth(path)
        spans = [(3.0, 3.4), (0.5, 0.9), (0.8, 1.1), (float(60 * base * 512), 2.01), (3.9, 99.0)]
        got = [frame.pts for frame in self.make_decoder(path).frames(spans)]
        assert got == [pts for pts in expected if pts in got]
        held = [pts for pts in expected if any(a <= float(pts * base) <= b for a, b in spans)]
        assert [pts for pts in got if pts in held] == held

    def test_crops_have_the_sizes_and_pictures_asked_for(self, tmp_path: Path) -> None:
        """Crops come in the order of their boxes, and stay valid after `close`."""
        import numpy as np

        decoder = self.make_decoder(self.video(tmp_path))
        boxes = np.array([[10.5, 60.0, 80.25, 100.0], [120.0, 60.5, 180.0, 99.5]])
        sizes = [(64, 80), (180, 100)]
        frame = next(iter(decoder.frames([(1.0, 1.5)])))
        close_decoder(decoder)
        crops = list(frame.crop(boxes, sizes))
        assert [(crop.width, crop.height) for crop in crops] == sizes
        if decoder.hw_encoder is not None:
            return  # its pictures are on the device, in a format of their own
        for crop, luma in zip(crops, (40, 200), strict=True):
            assert crop.format.name in ("yuv420p", "yuvj420p")
            planes = crop.to_ndarray()
            assert abs(planes[: crop.height].mean() - luma) < 3
            assert abs(planes[crop.height :].mean() - 128) < 3

    def test_refuses_what_is_no_video(self, tmp_path: Path) -> None:
        """A text file is a DamagedFileError that names it; nothing else is raised."""
        path = tmp_path / "page.mp4"
        path.write_text("<html>not a video</html>\n" * 100, encoding="utf-8")
        told = ""
        try:
            self.make_decoder(path)
        except DamagedFileError as error:
            told = str(error)
        assert path.name in told

    def test_brings_the_good_frames_of_a_damaged_file(self, tmp_path: Path) -> None:
        """Up to the damage every frame comes; then it ends, if at all, by a DamagedFileError."""
        path = self.video(tmp_path)
        expected, _ = self.truth(path)
        content = path.read_bytes()
        third = len(content) // 3  # amid the pictures: what names them lies at the end
        path.write_bytes(content[:third] + bytes(1000) + content[third + 1000 :])
        got: list[int] = []
        with suppress(DamagedFileError):
            got.extend(frame.pts for frame in self.make_decoder(path).frames([(0.0, 1e6)]))
        assert got == expected[: len(got)]
