"""`trackverse download-tracks`: download and cut, video by video."""

from __future__ import annotations

from typing import Annotated

import typer

from trackverse_cli.commands.options import (
    Cookies,
    Decoder,
    DiskBudget,
    Limit,
    Order,
    Rank,
    Retry,
    Workers,
    WorldSize,
    run_stage_command,
)


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("download-tracks")(download_tracks)


def download_tracks(
    ctx: typer.Context,
    rank: Rank = 0,
    world_size: WorldSize = 1,
    remove_videos: Annotated[
        bool | None,
        typer.Option(
            "--remove-videos/--keep-videos", help="Remove a video once its clips are checked."
        ),
    ] = None,
    disk_budget: DiskBudget = None,
    cookies: Cookies = None,
    decoder: Decoder = None,
    workers: Workers = None,
    limit: Limit = None,
    order: Order = None,
    retry: Retry = None,
) -> None:
    """Download videos and cut their clips, video by video."""
    run_stage_command(
        ctx.obj,
        "download-tracks",
        rank,
        world_size,
        limit,
        retry=retry,
        pipeline__remove_videos=remove_videos,
        pipeline__disk_budget=disk_budget,
        download__cookies=cookies,
        download__order=order,
        extract__decoder=decoder,
        extract__workers=workers,
    )
