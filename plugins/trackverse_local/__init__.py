"""The executor `local`: one process per rank on this machine."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from trackverse_cli import hookimpl
from trackverse_cli.interfaces import Executor, ExecutorPlugin


class LocalSettings(BaseModel):
    """How the executor `local` starts ranks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    slots: int = Field(
        0, ge=0, le=1024, description="Ranks at a time; 0: as many as cores and memory bear."
    )
    memory_gib_per_rank: float = Field(
        2.0, gt=0, description="Memory that a rank may need; bounds the ranks at a time."
    )


def _create(settings: LocalSettings) -> Executor:
    from trackverse_local.executor import LocalExecutor

    return LocalExecutor(settings.slots, settings.memory_gib_per_rank)


@hookimpl
def trackverse_register_executor() -> ExecutorPlugin:
    """Offer the executor `local`."""
    return ExecutorPlugin(
        name="local",
        summary="one process per rank on this machine; stays in the foreground",
        settings=LocalSettings,
        create=_create,
        foreground=True,
    )
