"""`trackverse extract-tracks`: the clips of one shard, from videos on disk."""

from __future__ import annotations

import typer

from trackverse_cli.commands.options import (
    Decoder,
    Limit,
    Rank,
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
) -> None:
    """Cut the clips of this shard whose videos are on disk."""
    run_stage_command(
        ctx.obj,
        "extract-tracks",
        rank,
        world_size,
        limit,
        extract__decoder=decoder,
        extract__workers=workers,
    )
