"""`trackverse show`: everything that is known of one video, track or clip."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from trackverse_cli.commands.options import AsJson, print_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trackverse_cli.story import ClipStory, LedgerLine, OnDisk, Standing, VideoStory


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("show")(show)


def show(
    ctx: typer.Context,
    item: Annotated[
        str, typer.Argument(help="A video id, a track id, a clip's name or path.", metavar="ID")
    ],
    world_size: Annotated[
        int | None, typer.Option(help="How many ranks share the work; says whose it is.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell one item's whole story.

    Its state and the reason in plain words, what metadata says, the files with their sizes and
    whether their checksums match, every line of the ledger about it, and what to do next. Put `--`
    before an id that begins with a dash.
    """
    config = ctx.obj.config()
    from trackverse_cli.story import tell

    submit = config.settings.submit
    size = world_size or submit.of_stage(submit.stage)[1]
    story = tell(config, item, size)
    if as_json:
        print_json(story.to_json())
        return
    for video in story.videos:
        for line in _lines_of(video):
            # Written as it is: what comes from a host or from metadata is no markup.
            typer.echo(_plain(line))


def _lines_of(video: VideoStory) -> Iterator[str]:
    whose = f"rank {video.rank} of {video.world_size}"
    yield f"video {video.video_id}, {video.tracks:,} tracks, {whose}"
    yield from _standing(video.standing, "  ")
    for file in video.files:
        yield "  " + _file(file)
    for clip in video.clips:
        yield ""
        yield from _clip(clip)
    yield ""
    yield "ledger:" if video.ledger else "ledger: no line"
    for line in video.ledger:
        yield "  " + _ledger(line)
    yield ""
    yield f"next: {video.next}"


def _clip(clip: ClipStory) -> Iterator[str]:
    yield f"track {clip.track_id}" + ("" if clip.selected else " (not selected)")
    yield from _standing(clip.standing, "  ")
    span = f"{clip.first_ts:.3f} to {clip.last_ts:.3f} s"
    size = f", on {clip.video_size[1]}x{clip.video_size[0]}" if clip.video_size else ""
    yield f"  {clip.boxes:,} boxes, {span}{size}; {', '.join(clip.labels) or 'no class'}"
    yield f"  {clip.clip_name}"
    for file in clip.files:
        yield "  " + _file(file)


def _standing(one: Standing, indent: str) -> Iterator[str]:
    yield f"{indent}{one.state}" + (f": {one.reason}: {one.meaning}" if one.reason else "")
    if one.message:
        yield f"{indent}{one.message}"


def _file(file: OnDisk) -> str:
    told = {True: "checksum matches", False: "checksum does NOT match", None: "no checksum known"}
    at = f" at {file.offset:,}" if file.offset is not None else ""
    return f"on disk: {file.path}{at}, {file.bytes:,} bytes, {told[file.matches]}"


def _ledger(line: LedgerLine) -> str:
    said = {key: value for key, value in line.line.items() if key not in ("kind", "video_id")}
    who = f"{line.stage} rank {line.rank} of {line.world_size} on {line.host}, run {line.run}"
    job = f", job {line.job}" if line.job else ""
    return f"{line.time} {line.line['kind']} {json.dumps(said, ensure_ascii=True)} ({who}{job})"


def _plain(text: str) -> str:
    """Return a text without anything that a terminal would act on."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
