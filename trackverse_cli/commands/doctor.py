"""`trackverse doctor`: is this machine ready."""

from __future__ import annotations

import typer

from trackverse_cli.commands.options import AsJson, print_json


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("doctor")(doctor)


def doctor(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Check whether this machine is ready.

    Looks at Python, yt-dlp, its JavaScript runtime, the encoder, the disk and the plugins.

    Exit code 3 if something is missing that a run would need.
    """
    config = ctx.obj.config()
    from trackverse_cli.doctor import examine

    findings = examine(config)
    failed = any(finding.state == "missing" for finding in findings)
    if as_json:
        checks = [{"name": f.name, "state": f.state, "message": f.message} for f in findings]
        print_json({"schema": 1, "ready": not failed, "checks": checks})
    else:
        from rich.console import Console
        from rich.table import Table

        colours = {"ok": "green", "warning": "yellow", "missing": "red"}
        table = Table("check", "state", "", box=None)
        for finding in findings:
            state = f"[{colours[finding.state]}]{finding.state}"
            table.add_row(finding.name, state, finding.message)
        Console().print(table)
    raise typer.Exit(3 if failed else 0)
