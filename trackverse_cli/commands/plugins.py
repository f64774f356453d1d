"""`trackverse plugins`: executors and decoders found, usable or why not."""

from __future__ import annotations

import typer

from trackverse_cli.commands.options import AsJson, print_json


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("plugins")(plugins)


def plugins(as_json: AsJson = False) -> None:
    """List executors and decoders, and whether they work here."""
    from trackverse_cli.plugins import find_plugins

    found = find_plugins()
    if as_json:
        names = ("kind", "name", "summary", "source", "problem")
        print_json({"plugins": [{name: getattr(one, name) for name in names} for one in found]})
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("kind", "name", "state", "from", "what it does", box=None)
    for one in found:
        state = "[green]usable" if one.problem is None else "[red]not usable"
        table.add_row(one.kind or "?", one.name, state, one.source, one.problem or one.summary)
    Console().print(table)
