"""Slurm's own programs: bounded in time, and their refusals in one sentence."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trackverse_cli.errors import LacksError, TrackverseError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trackverse_slurm.settings import SlurmSettings

COMMAND_SECONDS = 60.0
"""A controller that is down is reported within 20 s; one that is busy may take longer."""

USUAL_MAX_ARRAY_SIZE = 1001

# What sbatch says -> the settings that decide it, and what to do. The first that fits counts.
_REFUSALS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    (r"submit ?limit|maxsubmit|accounting/qos|limit.*violat|violates", ("qos", "account", "time"),
     "a limit of your account is reached; wait, ask for less, or use fewer ranks"),
    (r"invalid partition|partition name|use this partition", ("partition",),
     "`sinfo -s` lists those that there are"),
    (r"invalid account", ("account", "partition"),
     "`sacctmgr show assoc user=$USER` lists the pairs that you may use"),
    (r"invalid qos", ("qos",), "`sacctmgr show qos` lists those that there are"),
    (r"time limit|--time", ("time",), "`sinfo -o '%P %l'` shows how long a partition allows"),
    (r"memory specification|--mem", ("memory",), "`sinfo -o '%P %m'` shows the memory of nodes"),
    (r"cpu count|processors requested|--cpus-per-task", ("cpus_per_task",),
     "`sinfo -o '%P %c'` shows the cores of nodes"),
    (r"generic resource|gres", ("gpus",), "`sinfo -o '%P %G'` shows the GPUs of nodes"),
    (r"invalid feature", ("constraint",), "`sinfo -o '%P %f'` shows the features of nodes"),
    (r"node name", ("nodelist", "exclude"), "`sinfo -N` lists the nodes"),
    (r"node count|nodes? .*not available|node configuration",
     ("partition", "cpus_per_task", "memory", "gpus"),
     "no node has all of that; `sinfo -o '%P %c %m %G'` shows what they have"),
    (r"job array", ("ranks_per_task",), "the ranks do not fit into a job array of this cluster"),
    (r"not available|partition.*(down|inactive|drain)", ("partition",),
     "the partition takes no jobs now"),
    (r"unrecognized option|invalid option|invalid .*specification|reservation|license",
     ("options",), "one of the further options is not accepted here"),
)  # fmt: skip
_TROUBLE = re.compile(
    r"unable to contact|timed out|temporarily unable|zero bytes were transmitted|munge encode"
    r"|configuration (source|file)|authentication (error|credential)",
    re.IGNORECASE,
)


@dataclass(slots=True)
class Slurm:
    """The cluster that this machine's Slurm programs talk to."""

    _config: dict[str, str] = field(default_factory=dict)

    def run(self, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run one of Slurm's programs to its end.

        Raises:
            LacksError: it is not there, or does not answer in time.
        """
        try:
            return subprocess.run(
                words, capture_output=True, text=True, check=False, timeout=COMMAND_SECONDS,
                stdin=subprocess.DEVNULL, env=_environment(), errors="replace",
            )  # fmt: skip
        except FileNotFoundError:
            raise LacksError(
                f"`{words[0]}` is not on PATH; run this on a login node of the cluster"
            ) from None
        except subprocess.TimeoutExpired as error:
            said = error.stderr.decode(errors="replace") if error.stderr else ""
            raise LacksError(
                f"`{words[0]}` did not answer within {COMMAND_SECONDS:.0f} s; see with `squeue "
                f"--me` whether anything was queued, and try again later{_quoted(said)}"
            ) from None

    def config(self) -> dict[str, str]:
        """Return the cluster's configuration, asked for once.

        Raises:
            LacksError: the controller does not answer.
        """
        if not self._config:
            done = self.run(["scontrol", "show", "config"])
            if done.returncode != 0:
                raise _no_controller(done.stderr)
            pairs = (line.partition("=") for line in done.stdout.splitlines())
            self._config = {key.strip(): value.strip() for key, _, value in pairs}
        return self._config

    def max_array_size(self) -> int:
        """Return one more than the largest array index; raises as `config`."""
        text = self.config().get("MaxArraySize", "")
        return int(text) if text.isdecimal() and int(text) > 0 else USUAL_MAX_ARRAY_SIZE

    def has_accounting(self) -> bool:
        """Say whether sacct knows ended jobs; raises as `config`."""
        kind = self.config().get("AccountingStorageType", "")
        return kind.startswith("accounting_storage/") and not kind.endswith("/none")

    def submit(self, words: Sequence[str], settings: SlurmSettings) -> str:
        """Run sbatch; return the id of the job.

        Raises:
            UsageError: Slurm refuses what the settings ask for.
            LacksError: the cluster takes no jobs now.
        """
        done = self.run(words)
        job = done.stdout.strip().splitlines()[-1:] or [""]
        found = job[0].partition(";")[0]  # the cluster's name may follow
        if done.returncode != 0 or not found.isdecimal():
            raise refusal(done.stderr or done.stdout, settings)
        return found


def refusal(said: str, settings: SlurmSettings) -> TrackverseError:
    """Return what sbatch's words mean, with the settings to change.

    Args:
        said: standard error of sbatch.
        settings: what was asked for.
    """
    for pattern, names, advice in _REFUSALS:
        if re.search(pattern, said, re.IGNORECASE) and not _is_trouble(said):
            values = settings.model_dump()
            named = ", ".join(f"{name} = {values[name]!r}" for name in names)
            return UsageError(
                f"Slurm refuses the job; look at {named} in [executor.slurm]: {advice}"
                f"{_quoted(said)}"
            )
    if _is_trouble(said):
        return _no_controller(said)
    return LacksError(f"Slurm refuses the job; ask the cluster's administrators{_quoted(said)}")


def _is_trouble(said: str) -> bool:
    return bool(_TROUBLE.search(said))


def _no_controller(said: str) -> LacksError:
    return LacksError(
        "Slurm's controller takes no requests now; `scontrol ping` says whether it is up, then "
        f"run the same command again{_quoted(said)}"
    )


def _quoted(said: str) -> str:
    lines = (line.strip() for line in said.splitlines())
    own = dict.fromkeys(re.sub(r"^\w+: (error: |fatal: )?", "", line) for line in lines if line)
    return f" (it says: {'; '.join(own)})" if own else ""


def _environment() -> dict[str, str]:
    """Return this process's environment without what filters or reshapes Slurm's answers."""
    shaping = ("SQUEUE_", "SACCT_", "SCANCEL_", "SLURM_TIME_FORMAT", "SLURM_BITSTR_LEN")
    return {name: value for name, value in os.environ.items() if not name.startswith(shaping)}
