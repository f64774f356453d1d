"""`trackverse export`: the table that training code wants."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trackverse_cli.commands.options import AsJson, Workers, print_json


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("export")(export)


def export(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="The Parquet file to write.", metavar="FILE")],
    complete_only: Annotated[
        bool, typer.Option("--complete-only", help="Leave out what is not complete.")
    ] = False,
    level: Annotated[
        str,
        typer.Option(
            help="presence, probe, checksum or decode: how closely to look.", metavar="LEVEL"
        ),
    ] = "presence",
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Write a Parquet table of the clips, for training code.

    Ids, label, state, path or place in a shard, frames, times: pandas, DuckDB and polars read it.
    A row for each selected clip, also those that are not there, with the reason; --complete-only
    leaves these out. Paths are relative to the dataset folder.
    """
    config = ctx.obj.config(extract__workers=workers)
    from trackverse_cli.audit import parse_level
    from trackverse_cli.exporting import export as write_table
    from trackverse_cli.signals import stop_on_signals

    with stop_on_signals():
        done = write_table(config, file, parse_level(level), complete_only=complete_only)
    if as_json:
        print_json(done.to_json())
        return
    told = ", ".join(f"{number:,} {state}" for state, number in done.states.most_common())
    typer.echo(f"{file}: {done.rows:,} rows")
    typer.echo(f"clips of the selection: {told or 'none'}")
