"""`trackverse doctor`: is this machine ready, or the one where ranks would run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from trackverse_cli.commands.options import AsJson, print_json

if TYPE_CHECKING:
    from collections.abc import Sequence


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("doctor")(doctor)


def doctor(
    ctx: typer.Context,
    executor: Annotated[
        str | None,
        typer.Option(help="Look from where this executor would run ranks.", metavar="NAME"),
    ] = None,
    world_size: Annotated[
        int, typer.Option(help="From how many ranks to look.", min=1, max=4096, metavar="W")
    ] = 1,
    _rank: Annotated[int, typer.Option("--rank", hidden=True)] = 0,
    online: Annotated[
        bool, typer.Option("--online", help="Also connect to the proxy, and ask for one video.")
    ] = False,
    video: Annotated[str | None, typer.Option(help="Ask for this one.", metavar="ID")] = None,
    as_json: AsJson = False,
) -> None:
    """Check whether this machine is ready.

    With --executor, the machines where that would run ranks are looked at instead.

    Looks at Python, yt-dlp, its JavaScript runtime, cookies, proxy, the encoder, disk and quota,
    the clock, leases and the plugins. Nothing is asked for without --online.

    Exit code 3 if something is missing that a run would need.
    """
    config = ctx.obj.config()
    if executor is not None:
        from trackverse_cli.jobs.errand import run_errand
        from trackverse_cli.signals import CANCEL_GRACE_SECONDS, stop_on_signals

        words = ["doctor", "--json", *(["--online"] if online else [])]
        words += [f"--video={video}"] if video else []
        with stop_on_signals(CANCEL_GRACE_SECONDS):
            answers = run_errand(config, executor, "doctor", words, world_size)
    else:
        from trackverse_cli.doctor import examine

        answers = [_answer(examine(config, online, video))]
    if as_json:
        print_json(_joined(answers))
    else:
        for answer in answers:
            _print(answer)
    raise typer.Exit(0 if all(answer["ready"] for answer in answers) else 3)


def _answer(findings: Sequence[Any]) -> dict[str, Any]:
    import socket

    checks = [{"name": f.name, "state": f.state, "message": f.message} for f in findings]
    ready = all(finding.state != "missing" for finding in findings)
    return {"schema": 1, "host": socket.gethostname(), "ready": ready, "checks": checks}


def _joined(answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the one answer, or the first with those of the other ranks beside it."""
    if len(answers) == 1:
        return answers[0]
    ready = all(answer["ready"] for answer in answers)
    return {**answers[0], "ready": ready, "others": list(answers[1:])}


def _print(answer: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    colours = {"ok": "green", "warning": "yellow", "missing": "red"}
    table = Table("check", "state", "", box=None, title=answer["host"], title_justify="left")
    for check in answer["checks"]:
        state = Text(check["state"], style=colours.get(check["state"], ""))
        table.add_row(Text(check["name"]), state, Text(check["message"]))
    Console().print(table)
