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
        rows = [{name: getattr(one, name) for name in names} for one in found]
        print_json({"schema": 1, "plugins": rows})
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("kind", "name", "state", "from", "what it does", box=None)
    for one in found:
        usable = one.problem is None
        state = Text("usable" if usable else "not usable", style="green" if usable else "red")
        told = one.summary if one.problem is None else one.problem
        table.add_row(one.kind or "?", one.name, state, one.source, told)
    # A stranger's words are no markup.
    Console(markup=False, emoji=False, highlight=False).print(table)
