"""What `[executor.slurm]` may say."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

_OWN_OPTIONS = {
    "--array": "throttle", "-a": "throttle", "--output": "", "-o": "", "--error": "", "-e": "",
    "--open-mode": "", "--parsable": "", "--requeue": "max_requeues",
    "--no-requeue": "max_requeues", "--signal": "signal_seconds", "--wrap": "", "--wait": "",
    "-W": "", "--test-only": "", "--begin": "", "-b": "", "--nodes": "", "-N": "",
    "--ntasks": "ranks_per_task", "-n": "ranks_per_task", "--clusters": "", "-M": "",
    "--time": "time", "-t": "time", "--mem": "memory", "--cpus-per-task": "cpus_per_task",
    "-c": "cpus_per_task", "--partition": "partition", "-p": "partition", "--gres": "gpus",
    "--job-name": "job_name", "-J": "job_name",
}  # fmt: skip


def _one_line(text: str) -> str:
    if any(ord(c) < 32 or ord(c) == 127 for c in text):
        raise ValueError("it has to be one line, without control characters")
    return text


def _option(text: str) -> str:
    _one_line(text)
    if not re.match(r"-[A-Za-z-]", text) or text == "--":
        raise ValueError("each has to be one word such as '--mail-user=me@example.org'")
    name = text.partition("=")[0] if text.startswith("--") else text[:2]
    if name in _OWN_OPTIONS:
        own = _OWN_OPTIONS[name]
        raise ValueError(f"{name} is set by {own}" if own else f"{name} is set by the executor")
    return text


def time_limit_seconds(text: str) -> float:
    """Return what `--time` means by `text`; infinity where there is none, or the partition's.

    Raises:
        ValueError: Slurm would not understand it.
    """
    if text.upper() in ("", "INFINITE", "UNLIMITED"):
        return float("inf")
    if not re.fullmatch(r"\d+(:\d+){0,2}|\d+-\d+(:\d+){0,2}", text):
        raise ValueError("it has to be like '24:00:00', '2-12:00:00' or '90' (minutes)")
    days, dash, rest = text.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if not dash and len(parts) < 3:  # minutes[:seconds]
        parts.insert(0, 0)
    hours, minutes, seconds = (*parts, 0, 0)[:3]
    return int(days or 0) * 86400 + hours * 3600 + minutes * 60 + seconds


def _limit(text: str) -> str:
    time_limit_seconds(text)
    return text


Line = Annotated[str, AfterValidator(_one_line)]


class SlurmSettings(BaseModel):
    """How the executor `slurm` asks for its ranks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    partition: Line = Field("", description="The partition; empty: the cluster's default.")
    account: Line = Field("", description="The account to charge; empty: your default.")
    qos: Line = Field("", description="The quality of service; empty: your default.")
    time: Annotated[str, AfterValidator(_limit)] = Field(
        "24:00:00", description="Time limit of a task; near it the rank is queued again."
    )
    cpus_per_task: int = Field(10, ge=1, le=4096, description="Cores of a task.")
    memory: str = Field(
        "32G", pattern=r"^(\d+[KMGT]?)?$", description="Memory of a task; empty: the default."
    )
    gpus: int = Field(
        0, ge=0, le=64, description="GPUs of a task; 0: one, and only where the decoder needs it."
    )
    constraint: Line = Field("", description="Features that the nodes must have.")
    nodelist: Line = Field("", description="The nodes to use, such as 'node[1-4]'.")
    exclude: Line = Field("", description="Nodes to leave out.")
    throttle: int = Field(0, ge=0, description="Tasks that may run at a time; 0: no bound.")
    max_requeues: int = Field(
        20, ge=0, description="Times a task queues itself again; preemptions are not counted."
    )
    signal_seconds: int = Field(
        120, ge=5, le=65535, description="How long before its time limit a rank is ended."
    )
    requeue_delay_seconds: int = Field(
        3600, ge=0, description="Wait before a rank that stopped early (exit 75) starts again."
    )
    ranks_per_task: int = Field(
        1, ge=1, le=1024, description="Ranks that share a task and its cores: for whole nodes."
    )
    job_name: Line = Field("", description="Name of the jobs; empty: the stage's.")
    setup: list[Line] = Field(
        default=[], description="Lines of bash before the command, such as 'module load cuda'."
    )
    options: list[Annotated[str, AfterValidator(_option)]] = Field(
        default=[], description="Further options of sbatch, one word each."
    )

    @property
    def limit_seconds(self) -> float:
        """The time limit of a task in seconds, infinite for none: `plan` counts with it."""
        return time_limit_seconds(self.time)

    @model_validator(mode="after")
    def _leaves_time_to_work(self) -> Self:
        if 2 * self.signal_seconds > time_limit_seconds(self.time):
            raise ValueError(
                f"time = '{self.time}' has to be at least twice signal_seconds = "
                f"{self.signal_seconds}, or ranks are ended as soon as they start"
            )
        return self
