"""`trackverse verify`: what is complete, what is missing and why, what to run next."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trackverse_cli.commands.options import AsJson, Workers, print_json


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("verify")(verify)


def verify(
    ctx: typer.Context,
    level: Annotated[
        str,
        typer.Option(
            help="presence, probe, checksum or decode: how closely to look.", metavar="LEVEL"
        ),
    ] = "probe",
    rank: Annotated[
        int | None, typer.Option(help="Check this rank's part only.", metavar="R")
    ] = None,
    world_size: Annotated[
        int | None,
        typer.Option(
            help="How many ranks share the work; says which of them to run again.", metavar="W"
        ),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(help="Write what is there, and what is not and why.", metavar="FILE"),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="Write a page that says and shows it, to look at.", metavar="FILE.html"),
    ] = None,
    report_clips: Annotated[
        int, typer.Option(help="Clips with pictures in it.", min=0, max=1000, metavar="N")
    ] = 60,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Forget what an interrupted check found sound.")
    ] = False,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Say what is complete, what is missing, and why.

    The exit code is 0 only if every clip is there and sound, and no video is damaged.

    presence reads folder listings; probe (the default) opens every file; checksum reads every
    byte; decode decodes every frame. Damaged clips are recorded, so that the next run cuts them
    again; in a folder that cannot be written nothing is. An interrupted check goes on where it
    was. --manifest writes a list that --only takes on any copy of the dataset; .gz packs it.

    With --report comes one page, without scripts or links to elsewhere: what lacks and why, over
    time, by class and by shard, what to run next, and frames of some clips beside the place in
    the video that they were cut from. An earlier report is replaced, no other file is.
    """
    config = ctx.obj.config(extract__workers=workers)
    from trackverse_cli.audit import audit, parse_level, record_damage
    from trackverse_cli.commands.reports import next_step, print_audit, report_world_size
    from trackverse_cli.report import Collector, report_target, write_report
    from trackverse_cli.signals import stop_on_signals

    target = report_target(report) if report is not None else None
    watcher = None
    if target is not None:
        size = report_world_size(config, world_size) if rank is None else (world_size or 1)
        watcher = Collector(size, report_clips)
    with stop_on_signals():
        found = audit(
            config, parse_level(level), rank, world_size or 1,
            manifest=manifest, fresh=fresh, watcher=watcher,
        )  # fmt: skip
        record_damage(config, found)
        step = next_step(found, config, rank, world_size)
        if target is not None and watcher is not None:
            write_report(
                target, config, found, watcher, rank=rank, command=step.command, note=step.note
            )
    if as_json:
        print_json(found.to_json())
    else:
        print_audit(found, config, rank, world_size)
        if target is not None:
            typer.echo(f"report: {report}")
    raise typer.Exit(0 if found.complete and not found.damaged_videos else 1)
