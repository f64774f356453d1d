"""`trackverse clean`: what may go from the dataset folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from trackverse_cli.commands.options import AsJson, print_json

if TYPE_CHECKING:
    from trackverse_cli.clean import Cleaned, Leftover


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("clean")(clean)


def clean(
    ctx: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go, remove nothing.")
    ] = False,
    partial_days: Annotated[
        float,
        typer.Option(help="Age of an unfinished download that goes.", min=0, metavar="DAYS"),
    ] = 7.0,
    as_json: AsJson = False,
) -> None:
    """Remove what runs left over, and compact their ledgers.

    Unfinished downloads, leftovers of killed runs and old state go. Ledgers are put together into
    one new file before they go, so that nothing is forgotten. Videos, clips, metadata, index and
    logs stay, and so does everything that is not this program's own.
    """
    config = ctx.obj.config()
    from loguru import logger

    from trackverse_cli.clean import clean as clean_folder
    from trackverse_cli.errors import UsageError

    layout = config.layout
    if not layout.root.is_dir():
        raise UsageError(f"there is no dataset folder {layout.root}; name it with --root DIR")
    tell = _tell if dry_run and not as_json else None
    done = clean_folder(layout, dry_run=dry_run, partial_days=partial_days, found=tell)
    for path, reason in done.refused:
        logger.warning(
            "{} stays: {}; ask its owner to remove it", layout.root / _plain(path), reason
        )
    if as_json:
        print_json(done.to_json())
    else:
        _print_counts(done)
    raise typer.Exit(1 if done.refused else 0)


def _tell(one: Leftover) -> None:
    age = one.age_seconds / 86_400
    typer.echo(f"{_plain(one.path)}  {_size(one.bytes)}, {age:.1f} days old ({one.kind})")


def _print_counts(done: Cleaned) -> None:
    verb = "would go" if done.dry_run else "removed"
    for kind, told in (
        ("partial", "unfinished downloads"),
        ("temporary", "leftovers of killed runs"),
        ("state", "old selections and interrupted checks"),
    ):
        count = done.kinds[kind]
        typer.echo(f"{told}: {count.files:,} {verb}, {_size(count.bytes)}")
    ledger = done.ledger
    verb = "would be compacted" if done.dry_run else "compacted"
    into = f" into {_size(ledger.new_bytes)}" if ledger.path is not None else ""
    stay = f"; {ledger.running:,} of runs that may go on stay" if ledger.running else ""
    typer.echo(f"ledger files: {ledger.files:,} {verb}, {_size(ledger.bytes)}{into}{stay}")


def _size(size: int) -> str:
    """Return bytes as a person says them: `312 bytes`, `4.2 kB`, `1.3 GB`."""
    for limit, unit, digits in ((1e3, "bytes", 0), (1e6, "kB", 1), (1e9, "MB", 1)):
        if size < limit:
            return f"{size / (limit / 1000):.{digits}f} {unit}"
    return f"{size / 1e9:,.1f} GB"


def _plain(path: str) -> str:
    """Return a name as it can be printed: it may hold anything that a file system takes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in path)
