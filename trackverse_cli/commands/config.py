"""`trackverse config`: the configuration in force, and `config init` to write one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trackverse_cli.commands.options import AsJson, print_json


def register(app: typer.Typer) -> None:
    """Add the command and its sub-command to the app."""
    group = typer.Typer(help="Show the configuration in force, or write one.")
    group.callback(invoke_without_command=True)(show)
    group.command("init")(init)
    app.add_typer(group, name="config")


def show(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Show every value and where it came from."""
    if ctx.invoked_subcommand:
        return
    config = ctx.obj.config()
    from trackverse_cli.config_text import values_with_origins

    rows = values_with_origins(config)
    if as_json:
        values = {key: {"value": value, "origin": origin} for key, value, origin in rows}
        print_json({"schema": 1} | values)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None)
    table.add_column("key", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("from", overflow="fold")
    for key, value, origin in rows:
        table.add_row(key, "" if value is None else str(value), origin)
    Console(markup=False, emoji=False, highlight=False).print(table)


def init(
    ctx: typer.Context,
    path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("trackverse.toml"),
) -> None:
    """Write a commented trackverse.toml; an existing file is left alone."""
    from trackverse_cli.config_text import write_example

    write_example(path, ctx.obj.flags.get("dataset.root"))
    typer.echo(f"wrote {path}; set [dataset] root in it, then: trackverse fetch-meta --list")
