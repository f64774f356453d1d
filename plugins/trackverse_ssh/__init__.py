"""The executor `ssh`: ranks on other machines, by the user's own ssh and its configuration."""

from __future__ import annotations

import shutil

from trackverse_cli import hookimpl
from trackverse_cli.interfaces import Executor, ExecutorPlugin
from trackverse_ssh.settings import SSHSettings


def _create(settings: SSHSettings) -> Executor:
    from trackverse_ssh.executor import SSHExecutor

    return SSHExecutor(settings)


def _unavailable() -> str | None:
    if shutil.which("ssh") is None:
        return "the command ssh is not on PATH; install an OpenSSH client"
    return None


@hookimpl
def trackverse_register_executor() -> ExecutorPlugin:
    """Offer the executor `ssh`."""
    return ExecutorPlugin(
        name="ssh",
        summary="ranks on other machines over ssh; they go on when the connection drops",
        settings=SSHSettings,
        create=_create,
        unavailable=_unavailable,
    )
