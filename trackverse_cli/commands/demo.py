"""`trackverse demo`: the whole job on a small dataset made and served on this machine."""

from __future__ import annotations

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("demo")(demo)


def demo(ctx: typer.Context) -> None:
    """Do the whole job on a small dataset made on this machine.

    Three videos with moving objects are made and served on 127.0.0.1, then downloaded and cut by
    two ranks, and verified. `--root DIR` says where; the default is ./trackverse-demo.
    """
    from trackverse_cli.demo import run_demo
    from trackverse_cli.log import set_up_logging

    set_up_logging(ctx.obj.verbosity)
    root = Path(ctx.obj.flags.get("dataset.root", "trackverse-demo")).absolute()
    raise typer.Exit(run_demo(root, typer.echo))
