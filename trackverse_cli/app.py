"""The Typer app: global options before and after the command, errors to exit codes."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from trackverse_cli import __version__
from trackverse_cli.errors import StoppedError, TrackverseError, TryLaterError, UsageError

if TYPE_CHECKING:
    from trackverse_cli.config import Config

_SELECTION_OPTIONS = (
    "--select", "--classes", "--per-class", "--videos", "--tracks", "--min-seconds",
    "--exclude-videos-of", "--only",
)  # fmt: skip
_WITH_VALUE = ("--config", "--root", "--meta", *_SELECTION_OPTIONS)
_JOINED = tuple(f"{name}=" for name in _WITH_VALUE)
_FLAGS = ("--verbose", "--quiet", "--version", "--refill")
_SHORT_FLAGS = re.compile("-[vq]+")


@dataclass(slots=True)
class Session:
    """The global options of one call; commands get it as `ctx.obj`."""

    file: Path | None = None
    verbosity: int = 0
    flags: dict[str, Any] = field(default_factory=dict)

    def config(self, **more: Any) -> Config:
        """Return the configuration in force.

        Args:
            more: flags of the command, with `__` for the dot of a key; None is left out.

        Raises:
            ConfigError: something in one of its layers is wrong.
        """
        from trackverse_cli.config import load_config
        from trackverse_cli.log import set_up_logging

        set_up_logging(self.verbosity)
        own = {key.replace("__", "."): value for key, value in more.items() if value is not None}
        return load_config(self.file, self.flags | own)


class _Group(TyperGroup):
    """Takes the global options wherever they stand, and turns errors into one sentence each."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return list(super().parse_args(ctx, _globals_first(args)))

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except TrackverseError as error:
            _end(ctx, error, error.exit_code)
        except BrokenPipeError:
            # The reader of our output has left; Python would complain once more at its own end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
        except OSError as error:
            told = _of_os_error(error)
            _end(ctx, told, told.exit_code, error)
        except Exception as error:
            lacks = _lacking(error)
            if lacks is None:
                raise
            _end(ctx, lacks, lacks.exit_code, error)
        except KeyboardInterrupt as error:
            _end(ctx, StoppedError(2), 130, error)


def _globals_first(args: list[str]) -> list[str]:
    """Return the arguments with the global options moved before the command."""
    first: list[str] = []
    rest: list[str] = []
    words = iter(args)
    for word in words:
        if word == "--":
            rest += [word, *words]
        elif word in _WITH_VALUE:
            value = next(words, None)
            if value is None:
                return [*first, word]  # so that what is missing is named, not the command
            first += [word, value]
        elif word in _FLAGS or _SHORT_FLAGS.fullmatch(word) or word.startswith(_JOINED):
            first.append(word)
        else:
            rest.append(word)
    return first + rest


def _lacking(error: Exception) -> TrackverseError | None:
    from trackverse_cli.means import lacking

    return lacking(error)


def _of_os_error(error: OSError) -> TrackverseError:
    from trackverse_cli.files import STORAGE_FULL

    if lacks := _lacking(error):
        return lacks
    where = f" {error.filename}" if error.filename else ""
    if error.errno in STORAGE_FULL:
        return TryLaterError(
            f"the storage is full{where}: free some space, then run the same command again"
        )
    return UsageError(f"the system refused{where}: {error.strerror or error}")


def _end(ctx: Any, error: TrackverseError, code: int, cause: BaseException | None = None) -> None:
    from trackverse_cli.log import plain
    from trackverse_cli.redaction import redacted

    verbose = isinstance(ctx.obj, Session) and ctx.obj.verbosity > 0
    if verbose:
        _print_traceback(type(error), cause or error)
    typer.echo(f"trackverse: {plain(redacted(str(error)))}", err=True)
    raise typer.Exit(code)


def _print_traceback(_kind: type[BaseException], error: BaseException, *_: object) -> None:
    import traceback

    from trackverse_cli.redaction import redacted

    # What a library says in the middle of it may hold an address with a password.
    typer.echo(redacted("".join(traceback.format_exception(error))), nl=False, err=True)


app = typer.Typer(
    name="trackverse",
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help wraps its paragraphs, and costs half the time
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Fetch, download, cut and verify the TrackVerse dataset of object tracks.

    First `trackverse fetch-meta 82K-CB100 --root DIR`, then `trackverse submit`, then
    `trackverse verify`. Every command can be run again at any time: it does what is left.
    """,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"trackverse {__version__}")
        raise typer.Exit


@app.callback()
def _global_options(
    ctx: typer.Context,
    config: Annotated[
        Path | None, typer.Option(help="Read this trackverse.toml.", metavar="FILE")
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="The dataset folder (or TRACKVERSE_DB).", metavar="DIR")
    ] = None,
    meta: Annotated[
        list[str] | None,
        typer.Option(help="A subset or a file in metadata/; may be repeated.", metavar="NAME"),
    ] = None,
    verbose: Annotated[
        int,
        typer.Option(
            "-v", "--verbose", count=True, show_default=False, help="Say more; tracebacks too."
        ),
    ] = 0,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say warnings only.")] = False,
    select: Annotated[
        str | None, typer.Option(help="The [select.NAME] of the configuration.", metavar="NAME")
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="Only these classes, with commas.", metavar="A,B")
    ] = None,
    per_class: Annotated[
        int | None, typer.Option(help="At most so many tracks of a class.", metavar="N")
    ] = None,
    refill: Annotated[
        bool, typer.Option("--refill", help="Replace unrecoverable tracks of a class.")
    ] = False,
    videos: Annotated[
        Path | None, typer.Option(help="Only videos of this list.", metavar="FILE")
    ] = None,
    tracks: Annotated[
        Path | None, typer.Option(help="Only tracks of this list.", metavar="FILE")
    ] = None,
    min_seconds: Annotated[
        float | None, typer.Option(help="Only tracks at least so long.", metavar="S")
    ] = None,
    exclude_videos_of: Annotated[
        Path | None, typer.Option(help="No video of this list or metadata file.", metavar="FILE")
    ] = None,
    only: Annotated[
        Path | None, typer.Option(help="Only what this manifest holds.", metavar="FILE")
    ] = None,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    flags: dict[str, Any] = {}
    if root is not None:
        flags["dataset.root"] = root
    if meta:
        flags["dataset.metadata"] = meta
    chosen = {
        "classes": [name.strip() for name in classes.split(",")] if classes else None,
        "per_class": per_class,
        "refill": refill or None,
        "videos": videos.absolute() if videos else None,
        "tracks": tracks.absolute() if tracks else None,
        "min_seconds": min_seconds,
        "exclude_videos_of": exclude_videos_of.absolute() if exclude_videos_of else None,
        "only": only.absolute() if only else None,
    }
    flags |= {f"selection.{key}": value for key, value in chosen.items() if value is not None}
    if select is not None:
        flags["dataset.select"] = select
    ctx.obj = Session(config, -1 if quiet else verbose, flags)


def _add_commands() -> None:
    from trackverse_cli.commands import (
        adopt,
        cancel,
        clean,
        config,
        demo,
        doctor,
        download_tracks,
        download_videos,
        export,
        extract_tracks,
        fetch_meta,
        logs,
        merge,
        plan,
        plugins,
        show,
        status,
        submit,
        verify,
    )

    for module in (
        fetch_meta,
        download_videos,
        extract_tracks,
        download_tracks,
        submit,
        status,
        logs,
        cancel,
        verify,
        show,
        plan,
        export,
        merge,
        adopt,
        clean,
        config,
        plugins,
        doctor,
        demo,
    ):
        module.register(app)


_add_commands()


def main() -> None:
    """Run the command line; this is the console script `trackverse`."""
    # numpy and scipy each start a thread a core that spins before it sleeps, for nothing done here.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.excepthook = _print_traceback
    app()
