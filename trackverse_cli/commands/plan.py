"""`trackverse plan`: what is left, how long it takes, what it needs, and in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from trackverse_cli.commands.options import AsJson, print_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trackverse_cli.plan import Plan

_WIDTH = 80
_INDENT = 13


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("plan")(plan)


def plan(
    ctx: typer.Context,
    world_size: Annotated[
        int | None, typer.Option(help="How many ranks would share the work.", metavar="W")
    ] = None,
    cores: Annotated[
        int | None, typer.Option(help="Cores that each rank cuts with.", min=1, metavar="N")
    ] = None,
    order: Annotated[
        str | None,
        typer.Option(help="cost or coverage: in which order videos are asked for.", metavar="NAME"),
    ] = None,
    hours: Annotated[
        float | None, typer.Option(help="Also say what is reached after H hours.", metavar="H")
    ] = None,
    queue_hours: Annotated[
        float | None, typer.Option(help="Mean wait in the scheduler's queue.", min=0, metavar="H")
    ] = None,
    submit_every: Annotated[
        float | None,
        typer.Option(help="Somebody runs submit again every H hours (24).", min=0.1, metavar="H"),
    ] = None,
    throttled_every: Annotated[
        float | None,
        typer.Option(
            help="An address is throttled every H hours (72); 0: never.", min=0, metavar="H"
        ),
    ] = None,
    node_every: Annotated[
        float | None,
        typer.Option(help="A node fails every H hours (6336); 0: never.", min=0, metavar="H"),
    ] = None,
    gone: Annotated[
        float | None,
        typer.Option(help="Share of videos that are gone (0.2).", min=0, max=1, metavar="SHARE"),
    ] = None,
    failing: Annotated[
        float | None,
        typer.Option(
            help="Share of requests that fail for a moment (0.02).", min=0, max=0.9, metavar="SHARE"
        ),
    ] = None,
    line: Annotated[
        float | None,
        typer.Option(help="Mbit/s that one download gets (40).", min=0.1, metavar="MBIT"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what is left to do and what it takes.

    From the index, the ledger and the folders: requests, hours at the pace, bytes, files and core
    hours; the waits for cool-downs, the queue and the next submit; how many ranks the pace can
    feed; and what a part of the requests would give, in the order of the index and in the order of
    most clips and rarest classes first.
    """
    config = ctx.obj.config()
    from trackverse_cli.catalog import open_catalog
    from trackverse_cli.errors import UsageError
    from trackverse_cli.plan import Given, make_plan, terms_of, to_json
    from trackverse_cli.signals import stop_on_signals

    if hours is not None and not hours > 0:
        raise UsageError(f"{hours:g} hours are no time to plan for; give --hours above 0")
    if line is not None and not 0 < line < 1e6:
        raise UsageError(f"{line:g} Mbit/s are no line to plan for; give --line from 0.1")
    given = Given(gone, failing, throttled_every, node_every, queue_hours, submit_every)
    terms = terms_of(
        config,
        world_size=world_size,
        cores=cores,
        order=order,
        hours=hours,
        line=None if line is None else line * 1e6 / 8,
        given=given,
    )
    with stop_on_signals():
        catalog = open_catalog(config)
        found = make_plan(config, catalog, terms)
    if as_json:
        print_json(to_json(found, catalog.name, catalog.key))
        return
    for text in _lines(found):
        typer.echo(text)


def _lines(found: Plan) -> Iterator[str]:
    """Yield what a person reads, at most 80 columns wide."""
    yield from _left(found)
    if not found.clips["due"]:
        yield "nothing is left that another run could win"
        return
    yield ""
    yield from _time(found)
    yield ""
    yield from _storage(found)
    if found.requests:
        yield ""
        yield from _reached(found)
    yield ""
    from trackverse_cli.plan.report import NOT_COUNTED

    yield from _wrapped("not counted: " + "; ".join(NOT_COUNTED))


def _left(found: Plan) -> Iterator[str]:
    clips = found.clips
    yield "left to do"
    yield from _row(
        "clips",
        f"{clips['due']:,} of {sum(clips.values()):,}; {clips['complete']:,} are there, "
        f"{clips['unrecoverable']:,} cannot be had",
    )
    on_disk = found.videos_due - found.requests
    yield from _row(
        "videos",
        f"{found.videos_due:,}: {found.requests:,} to ask for, {on_disk:,} are on disk",
    )
    if found.came_share is not None:
        yield from _row("", f"of the videos asked for so far {found.came_share:.0%} came")


def _time(found: Plan) -> Iterator[str]:
    from trackverse_cli.plan.report import split
    from trackverse_cli.plan.told import assumed_text, bound_text, waits_text

    times, terms = found.times, found.terms
    ranks = "1 rank" if terms.world_size == 1 else f"{terms.world_size:,} ranks"
    cores = "1 core" if terms.cores_per_rank == 1 else f"{terms.cores_per_rank} cores"
    yield f"time, for {ranks} of {cores}"
    number = len(terms.egresses)
    ways = "1 address" if number == 1 else f"each of {number} addresses"
    kept = f" ({terms.kept_pace:,.0f} kept, with jitter)" if terms.jitter else ""
    pace = f"{terms.videos_per_hour:,.0f} videos an hour{kept} through {ways}"
    yield from _row("requests", f"{_hours(times.pace_hours)}: {pace}")
    if number > 1:
        for one in split(found):
            yield f"{'':{_INDENT + 2}}{one['egress']}: {one['requests']:,} requests"
    if times.bound == "bringing":
        told = f"{_hours(times.bringing_hours)} of downloads, one at a time in each rank"
        yield from _row("bringing", told)
    if terms.share:
        told = f"{_hours(times.slowest_share_hours)} for the rank with most requests"
        yield from _row("share", f"{told}, with 1/{terms.share} of the pace")
    yield from _row(
        "cutting",
        f"{_hours(times.slowest_cut_hours)} for the rank with most work; "
        f"{times.cpu_hours:,.1f} core hours in all",
    )
    yield from _row("waits", waits_text(times))
    yield from _row("together", f"{_hours(times.makespan_hours)}; {bound_text(times)}")
    yield from _row("", times.feeding)
    yield from _row("assumed", assumed_text(found))


def _storage(found: Plan) -> Iterator[str]:
    storage, terms, rates = found.storage, found.terms, found.rates
    yield "storage"
    yield from _row(
        "download",
        f"{_size(storage.download_bytes)}, at {rates.video / 1e3:,.0f} kB a second of video "
        f"({rates.video_source})",
    )
    yield from _row(
        "clips",
        f"{_size(storage.clip_bytes)}, at {rates.clip / 1e3:,.0f} kB a second "
        f"({rates.clip_source})",
    )
    limits = (
        f" of {_size(terms.quota_bytes)}" if terms.quota_bytes is not None else "",
        f" of {terms.quota_files:,}" if terms.quota_files is not None else "",
    )
    kept = "videos removed" if terms.remove_videos else "videos kept"
    yield from _row(
        "in the end",
        f"{_size(storage.end_bytes)}{limits[0]}, {storage.end_files:,} files and folders"
        f"{limits[1]}, {kept}",
    )
    for sentence in found.over_quota():
        yield from _row("", sentence)


def _reached(found: Plan) -> Iterator[str]:
    from trackverse_cli.plan.reach import MANY_CLIPS

    orders = {"cost": "in the order of the index", "coverage": "by coverage"}
    in_force = orders[found.terms.order]
    yield f"reached if all comes, of {found.classes:,} classes (in force: {in_force})"
    by_order = {name: [one for one in found.reached if one.order == name] for name in orders}
    yield f"{'':22}{orders['cost']:>29}{orders['coverage']:>29}"
    head = f"{'clips':>12}{'classes':>8}{f'with {MANY_CLIPS}':>9}"
    yield f"{'requests':>12}{'after':>10}{head}{head}"
    for one, other in zip(by_order["cost"], by_order["coverage"], strict=True):
        columns = "".join(
            f"{x.clips:>12,}{x.classes:>8,}{x.classes_many:>9,}" for x in (one, other)
        )
        yield f"{one.requests:>12,}{_hours(one.hours):>10}{columns}"


def _row(name: str, told: str) -> list[str]:
    """Return a row with its name in front, wrapped."""
    return _wrapped(told, f"  {name:<{_INDENT - 2}}", " " * _INDENT)


def _wrapped(told: str, first: str = "", later: str = "") -> list[str]:
    import textwrap

    return textwrap.wrap(told, _WIDTH, initial_indent=first, subsequent_indent=later)


def _hours(hours: float) -> str:
    from trackverse_cli.plan.told import hours_text

    return hours_text(hours)


def _size(size: float) -> str:
    """Return bytes for a person."""
    for unit, number in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size >= number:
            return f"{size / number:,.1f} {unit}"
    return f"{size / 1e3:,.1f} kB"
