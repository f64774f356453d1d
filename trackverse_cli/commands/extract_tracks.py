"""`trackverse extract-tracks`: the clips of one shard, from videos on disk."""

from __future__ import annotations

from typing import Annotated

import typer

from trackverse_cli.commands.options import (
    Decoder,
    Limit,
    Rank,
    Retry,
    Workers,
    WorldSize,
    run_stage_command,
)


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("extract-tracks")(extract_tracks)


def extract_tracks(
    ctx: typer.Context,
    rank: Rank = 0,
    world_size: WorldSize = 1,
    decoder: Decoder = None,
    workers: Workers = None,
    limit: Limit = None,
    retry: Retry = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Take videos as another job brings them.")
    ] = False,
) -> None:
    """Cut the clips of this shard whose videos are on disk.

    With --follow it waits for the others as long as some run downloads, and for
    [pipeline] follow_idle_seconds after that.
    """
    run_stage_command(
        ctx.obj,
        "extract-tracks",
        rank,
        world_size,
        limit,
        follow,
        retry,
        extract__decoder=decoder,
        extract__workers=workers,
    )
