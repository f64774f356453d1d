"""What a plugin implements: executors start the ranks of a job, decoders bring frames.

Nothing here is heavy: a plugin's module can be imported, listed and asked whether it is usable
without loading what it needs to work.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from fractions import Fraction
    from pathlib import Path

    import numpy as np
    from av import VideoFrame
    from numpy.typing import NDArray
    from pydantic import BaseModel


class TaskState(StrEnum):
    """What an executor knows of a task; the ledger, not this, says whether a rank is done."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"
    """Ended early with exit code 75: throttled, or storage full; to be run again later."""
    UNKNOWN = "unknown"

    @property
    def ended(self) -> bool:
        """Whether the task will not change by itself any more."""
        return self in (TaskState.SUCCEEDED, TaskState.FAILED, TaskState.STOPPED)


@dataclass(frozen=True, slots=True)
class Job:
    """One submission: the same command for each of several ranks.

    An executor runs `command --rank R --world-size W` for every R of `ranks`, and nothing else;
    any rank can be run again by hand.

    Attributes:
        name: a short name for people and schedulers, of `A-Za-z0-9.-`.
        command: the command without rank and world size, as a list of words.
        world_size: the number of ranks that the whole work is split into.
        ranks: the ranks to run, each in [0, world_size).
        log_dir: an existing folder; the output of rank R goes to `rank-RRRR.log` in it.
        env: variables to add to the environment of every rank.
    """

    name: str
    command: tuple[str, ...]
    world_size: int
    ranks: tuple[int, ...]
    log_dir: Path
    env: Mapping[str, str] = field(default_factory=dict)

    def words(self, rank: int) -> list[str]:
        """Return the whole command of one rank."""
        return [*self.command, "--rank", str(rank), "--world-size", str(self.world_size)]

    def log_path(self, rank: int) -> Path:
        """Return the log file of one rank."""
        return self.log_dir / f"rank-{rank:04d}.log"


@dataclass(frozen=True, slots=True)
class Task:
    """One rank of a submitted job. It can be written as JSON and polled days later.

    Attributes:
        executor: the name of the executor that made it.
        rank: the rank that it runs.
        handle: what the executor needs to find it again, as text of its own.
    """

    executor: str
    rank: int
    handle: str


@runtime_checkable
class Executor(Protocol):
    """Starts ranks somewhere and says how they fare."""

    def submit(self, job: Job) -> Sequence[Task]:
        """Start, or queue, every rank of `job`; return one task for each, in their order.

        Raises:
            LacksError: what this executor needs is not there.
        """
        ...

    def poll(self, tasks: Sequence[Task]) -> Mapping[Task, TaskState]:
        """Return the state of every given task; also from another process than `submit`."""
        ...

    def cancel(self, tasks: Sequence[Task]) -> None:
        """Stop the given tasks; ended ones are left alone."""
        ...


@dataclass(frozen=True, slots=True)
class ExecutorPlugin:
    """An executor as a plugin offers it.

    Attributes:
        name: what `--executor` and `[submit] executor` call it.
        summary: one line for `trackverse plugins`.
        settings: the pydantic model of `[executor.<name>]`; every field has a default.
        create: makes the executor from its validated settings.
        unavailable: says in one sentence why it cannot work on this machine, or None.
        foreground: whether tasks live only as long as the process that submitted them, so that
            `submit` has to stay.
    """

    name: str
    summary: str
    settings: type[BaseModel]
    create: Callable[[Any], Executor]
    unavailable: Callable[[], str | None] = lambda: None
    foreground: bool = False


@dataclass(frozen=True, slots=True)
class Colour:
    """Colour tags as FFmpeg's enumerations number them (ISO/IEC 23091-2); 2 is unspecified.

    Attributes:
        primaries: which red, green and blue.
        transfer: the transfer function.
        matrix: how Y'CbCr is made from R'G'B'.
        range: 0 unspecified, 1 limited ("tv"), 2 full ("pc").
    """

    primaries: int = 2
    transfer: int = 2
    matrix: int = 2
    range: int = 0


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """One video as a viewer sees it: after rotation and with square pixels.

    Attributes:
        width: pixels, as displayed.
        height: pixels, as displayed.
        rate: average frames a second.
        time_base: seconds of one unit of pts.
        duration_seconds: as the container says, or None.
        codec: FFmpeg's name of the codec, such as `h264`.
        colour: the colour tags that a clip takes over.
    """

    width: int
    height: int
    rate: Fraction
    time_base: Fraction
    duration_seconds: float | None
    codec: str
    colour: Colour


class Frame(Protocol):
    """One decoded frame of a video, wherever its pixels are."""

    @property
    def pts(self) -> int:
        """Presentation time in units of `time_base`."""
        ...

    @property
    def time_base(self) -> Fraction:
        """Seconds of one unit of `pts`."""
        ...

    def crop(
        self, boxes: NDArray[np.float64], sizes: Sequence[tuple[int, int]]
    ) -> Sequence[VideoFrame]:
        """Cut boxes out of the frame and resize each.

        Args:
            boxes: (m, 4) xywh in displayed pixels, inside the frame, at sub-pixel positions.
            sizes: m times (width, height), even.

        Returns:
            m frames that the encoder takes, in yuv420p or the format of the decoder's
            `hw_encoder`. An item may be computed when it is taken, by the thread that takes it;
            each is taken once.
        """
        ...


class Decoder(Protocol):
    """One open video; its `close()`, if it has one, is called when the video is through."""

    @property
    def info(self) -> VideoInfo:
        """What the video is."""
        ...

    @property
    def hw_encoder(self) -> str | None:
        """The encoder that takes this decoder's crops without a copy, or None."""
        ...

    def frames(self, spans: Sequence[tuple[float, float]]) -> Iterator[Frame]:
        """Yield the frames of the video in presentation order, each once.

        Args:
            spans: (start, stop) in seconds, both inside; frames that no span holds may be left
                out, and none that a span holds is. The first frame after each span, where
                there is one, is worth yielding too: by it the caller knows that the span is whole.

        Raises:
            DamagedFileError: the video cannot be decoded further; the frames before were good.
        """
        ...


def close_decoder(decoder: Decoder) -> None:
    """Call a decoder's `close()`, if it has one; frames that it handed out stay valid."""
    close = getattr(decoder, "close", None)
    if close is not None:
        close()


@dataclass(frozen=True, slots=True)
class DecoderPlugin:
    """A decoder as a plugin offers it.

    Attributes:
        name: what `--decoder` and `[extract] decoder` call it.
        summary: one line for `trackverse plugins`.
        settings: the pydantic model of `[decoder.<name>]`; every field has a default.
        open: opens a file with the validated settings; raises DamagedFileError for what is no
            readable video.
        unavailable: says in one sentence why it cannot work on this machine, or None.
        needs_gpu: whether a scheduler should reserve a GPU for a job that uses it.
    """

    name: str
    summary: str
    settings: type[BaseModel]
    open: Callable[[Path, Any], Decoder]
    unavailable: Callable[[], str | None] = lambda: None
    needs_gpu: bool = False
