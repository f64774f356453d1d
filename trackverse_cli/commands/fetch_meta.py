"""`trackverse fetch-meta`: bring a metadata file, check it, build its index."""

from __future__ import annotations

from typing import Annotated

import typer

from trackverse_cli.commands.options import AsJson, print_json


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("fetch-meta")(fetch_meta)


def fetch_meta(
    ctx: typer.Context,
    what: Annotated[
        str | None,
        typer.Argument(
            help="A subset such as 82K-CB100, a URL, or a file.", metavar="SUBSET|URL|FILE"
        ),
    ] = None,
    list_subsets: Annotated[bool, typer.Option("--list", help="Show the subsets.")] = False,
    no_index: Annotated[
        bool, typer.Option("--no-index", help="Check and keep the file only.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring a metadata file, check it, and build its index.

    The file is checked to its last byte before it takes its place, so a broken download leaves
    what was there. A subset comes from the Hugging Face Hub; HF_ENDPOINT names a mirror.
    """
    if list_subsets:
        _print_subsets(as_json)
        return
    config = ctx.obj.config()
    from trackverse_cli.commands.reports import print_fetched
    from trackverse_cli.errors import UsageError
    from trackverse_cli.fetch import fetch_metadata
    from trackverse_cli.progress import byte_progress
    from trackverse_cli.signals import stop_on_signals

    wanted = what or next(iter(config.settings.dataset.metadata), "")
    if not wanted:
        raise UsageError(
            "name a subset, a URL or a file; `trackverse fetch-meta --list` shows them"
        )
    with stop_on_signals(), byte_progress("reading") as report:
        result = fetch_metadata(wanted, config.layout, make_index=not no_index, progress=report)
    print_fetched(result, as_json)


def _print_subsets(as_json: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    from trackverse_cli.subsets import SUBSETS

    if as_json:
        rows = [{"name": s.name, "tracks": s.tracks, "file": s.file} for s in SUBSETS]
        print_json({"schema": 1, "subsets": rows})
        return
    table = Table("subset", "tracks", "file", box=None)
    for subset in SUBSETS:
        table.add_row(subset.name, f"{subset.tracks:,}", subset.file or subset.note)
    Console().print(table)
