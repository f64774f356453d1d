"""The executor `ssh`: ranks as other machines over ssh."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from trackverse_cli import hookimpl
from trackverse_cli.interfaces import Executor, ExecutorPlugin


class SSHSettings(BaseModel):
    """How the executor `ssh` starts ranks."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _create(settings: SSHSettings) -> Executor:
    from trackverse_ssh.executor import SSHExecutor

    return SSHExecutor(settings)


@hookimpl
def trackverse_register_executor() -> ExecutorPlugin:
    """Offer the executor `ssh`."""
    return ExecutorPlugin(
        name="ssh", summary="other machines over ssh", settings=SSHSettings, create=_create
    )
