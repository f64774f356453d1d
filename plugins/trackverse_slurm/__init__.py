"""The executor `slurm`: ranks as Slurm job arrays."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from trackverse_cli import hookimpl
from trackverse_cli.interfaces import Executor, ExecutorPlugin


class SlurmSettings(BaseModel):
    """How the executor `slurm` starts ranks."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _create(settings: SlurmSettings) -> Executor:
    from trackverse_slurm.executor import SlurmExecutor

    return SlurmExecutor(settings)


@hookimpl
def trackverse_register_executor() -> ExecutorPlugin:
    """Offer the executor `slurm`."""
    return ExecutorPlugin(
        name="slurm", summary="Slurm job arrays", settings=SlurmSettings, create=_create
    )
