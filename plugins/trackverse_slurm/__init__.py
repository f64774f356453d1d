"""The executor `slurm`: ranks as the tasks of Slurm job arrays."""

from __future__ import annotations

import shutil

from trackverse_cli import hookimpl
from trackverse_cli.interfaces import Executor, ExecutorPlugin
from trackverse_slurm.settings import SlurmSettings

__all__ = ["SlurmSettings", "trackverse_register_executor"]


def _create(settings: SlurmSettings) -> Executor:
    from trackverse_slurm.executor import SlurmExecutor

    return SlurmExecutor(settings)


def _unavailable() -> str | None:
    if shutil.which("sbatch") is None:
        return "`sbatch` is not on PATH; run this on a login node of the cluster"
    return None


@hookimpl
def trackverse_register_executor() -> ExecutorPlugin:
    """Offer the executor `slurm`."""
    return ExecutorPlugin(
        name="slurm",
        summary="one task of a Slurm job array per rank; returns once they are queued",
        settings=SlurmSettings,
        create=_create,
        unavailable=_unavailable,
    )
