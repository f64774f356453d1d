"""`trackverse logs`: what a rank said."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from trackverse_cli.commands.options import Job

if TYPE_CHECKING:
    from pathlib import Path

    from trackverse_cli.jobs import JobRecord

LOOK_SECONDS = 0.5
BLOCK_BYTES = 1 << 16
_END_BYTES = 4096


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("logs")(logs)


def logs(
    ctx: typer.Context,
    rank: Annotated[int | None, typer.Argument(help="The rank.", metavar="[RANK]")] = None,
    job: Job = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Stay, and print what comes.")
    ] = False,
) -> None:
    """Print what a rank said.

    The newest job's, unless --job names another; without RANK, the last line of every rank.
    """
    config = ctx.obj.config()
    from trackverse_cli.errors import UsageError
    from trackverse_cli.jobs import find_job

    record = find_job(config.layout, job)
    if rank is None:
        _print_last_lines(record)
        return
    if rank not in record.due:
        raise UsageError(f"job {record.id} has no rank {rank}; see `trackverse status --all`")
    path = record.log_path(rank)
    if not path.is_file() and not follow:
        raise UsageError(f"rank {rank} of job {record.id} has said nothing yet ({path})")
    _print(path, follow)


def _print_last_lines(record: JobRecord) -> None:
    typer.echo(f"job {record.id}, logs in {record.log_dir}")
    for rank in sorted(record.due):
        path = record.log_path(rank)
        try:
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - _END_BYTES))
                lines = file.read().decode("utf-8", "replace").split("\n")
        except OSError:
            continue
        last = next((line for line in reversed(lines) if line.strip()), "")
        typer.echo(f"{rank:>4}  {_plain(last)}")


def _print(path: Path, follow: bool) -> None:
    read = 0
    while True:
        if path.is_file():
            with path.open("rb") as file:
                file.seek(read)
                while block := file.read(BLOCK_BYTES):
                    read += len(block)
                    typer.echo(_plain(block.decode("utf-8", "replace")), nl=False)
        if not follow:
            return
        time.sleep(LOOK_SECONDS)


def _plain(text: str) -> str:
    """Return text without what would drive a terminal: a log may quote a host."""
    return "".join(c for c in text if c in "\n\t" or c.isprintable())
