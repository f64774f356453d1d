"""`trackverse download-videos`: the source videos of one shard."""

from __future__ import annotations

import typer

from trackverse_cli.commands.options import (
    Cookies,
    Limit,
    Order,
    Rank,
    Retry,
    WorldSize,
    run_stage_command,
)


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("download-videos")(download_videos)


def download_videos(
    ctx: typer.Context,
    rank: Rank = 0,
    world_size: WorldSize = 1,
    cookies: Cookies = None,
    limit: Limit = None,
    order: Order = None,
    retry: Retry = None,
) -> None:
    """Download the videos that clips of this shard still need."""
    run_stage_command(
        ctx.obj,
        "download-videos",
        rank,
        world_size,
        limit,
        retry=retry,
        download__cookies=cookies,
        download__order=order,
    )
