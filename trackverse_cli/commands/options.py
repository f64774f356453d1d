"""Options that several commands share, and how results are printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from trackverse_cli.app import Session
    from trackverse_cli.settings import Stage
    from trackverse_cli.summary import RankSummary

Rank = Annotated[int, typer.Option(help="Which part of the work is mine, from 0.", metavar="R")]
WorldSize = Annotated[
    int, typer.Option(help="How many ranks share the work (1 to 4096).", metavar="W")
]
Retry = Annotated[
    str | None,
    typer.Option(help="Try these reasons again now, with commas.", metavar="CLASS[,CLASS]"),
]
Limit = Annotated[int | None, typer.Option(help="At most so many videos.", min=1, metavar="N")]
Cookies = Annotated[
    Path | None, typer.Option(help="A cookie file; it is read, never written.", metavar="FILE")
]
Order = Annotated[
    str | None,
    typer.Option(help="Which videos first: cost, or coverage (see `plan`).", metavar="NAME"),
]
DiskBudget = Annotated[
    str | None,
    typer.Option(help="What source videos may take together, as in 500GB.", metavar="SIZE"),
]
Decoder = Annotated[
    str | None, typer.Option(help="The decoder plugin (see `trackverse plugins`).", metavar="NAME")
]
Workers = Annotated[
    int | None, typer.Option(help="Threads; 0 for one per core.", min=0, metavar="N")
]
Job = Annotated[
    str | None, typer.Option(help="A job's id, or its end; the newest by default.", metavar="ID")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def print_json(value: dict[str, Any]) -> None:
    """Print the one object of `--json`."""
    typer.echo(json.dumps(value, indent=2))


def plain(text: str) -> str:
    """Return a name as it can be printed: it may hold anything that a file system takes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def run_stage_command(
    session: Session,
    stage: Stage,
    rank: int,
    world_size: int,
    limit: int | None,
    follow: bool = False,
    retry: str | None = None,
    **flags: Any,
) -> None:
    """Run one stage of one rank, print what came of it, and exit with its code."""
    config = session.config(download__retry=split_reasons(retry), **flags)
    from trackverse_cli.signals import stop_on_signals
    from trackverse_cli.stages import Shard, run_stage

    with stop_on_signals() as stop:
        summary = run_stage(Shard(stage, rank, world_size, limit, follow), config, stop)
    print_summary(summary)
    raise typer.Exit(summary.exit_code)


def split_reasons(text: str | None) -> list[str] | None:
    """Return the reasons of `--retry`, None if it was not given.

    Raises:
        UsageError: there is no such reason.
    """
    if text is None:
        return None
    from trackverse_cli.errors import UsageError
    from trackverse_cli.reasons import MEANING

    reasons = [reason.strip() for reason in text.split(",") if reason.strip()]
    unknown = sorted(set(reasons) - set(MEANING))
    if unknown:
        raise UsageError(
            f"--retry: no reason is called '{unknown[0]}'; known: {', '.join(MEANING)}"
        )
    return reasons


def print_summary(summary: RankSummary) -> None:
    """Print one line on videos, one on clips, and what to do about what is left."""
    from loguru import logger

    for what, counts in (("videos", summary.videos), ("clips", summary.clips)):
        if counts:
            told = ", ".join(f"{number:,} {name}" for name, number in counts.most_common())
            logger.info("{}: {}", what, told)
    if summary.fetched_bytes < summary.whole_bytes:
        share = 100 * summary.fetched_bytes / summary.whole_bytes
        logger.info(
            "{:,.1f} of {:,.1f} MB fetched ({:.0f} %): only what the tracks need",
            summary.fetched_bytes / 1e6, summary.whole_bytes / 1e6, share,
        )  # fmt: skip
    if summary.retryable:
        logger.info("{:,} clips may still be won: run the same command again", summary.retryable)
    elif not summary.clips:
        logger.info("nothing to do in this shard")
