"""What must hold after a fault, after the same command again, and after `clean`.

Everything here looks with the readers of the program at what lies on the disk, and names each thing
that is wrong in one line.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from tests.faults.box import NAME
from tests.faults.look import Key, Snapshot, elsewhere, published, records, snapshot
from trackverse_cli.errors import IndexUnusableError, ItemError, TrackverseError
from trackverse_cli.files import checksum
from trackverse_cli.layout import Layout
from trackverse_cli.ledger import read_ledger
from trackverse_cli.outputs import ShardIndex, check_member
from trackverse_cli.probe import Level, check_clip, check_video, read_clip
from trackverse_cli.recipe import ORIGINAL
from trackverse_cli.report.target import GENERATOR

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faults.box import Box
    from tests.faults.scenes import Scene
    from trackverse_cli.ledger import ClipRecord, LedgerState

_HIDDEN = re.compile(r"\.tv-.*|\.build-.*|.*\.(part|ytdl|tmp)$")


def after_fault(scene: Scene, box: Box, before: Snapshot) -> list[str]:
    """Return what is wrong right after the fault, before anything mends it."""
    layout = Layout(box.root)
    ledger = read_ledger(layout)
    shards = ShardIndex.load(layout)
    return [
        *_whole_files(scene, layout, ledger, before),
        *_records_kept(scene, layout, ledger, shards, before),
        *_files_kept(scene, box, before),
        *_kept_somewhere(box, before),
        *_index(box),
        *_outside(scene, box),
        *_json_files(layout),
    ]


def _whole_files(
    scene: Scene, layout: Layout, ledger: LedgerState, before: Snapshot
) -> Iterator[str]:
    """Nothing in sight is half."""
    others = {digest for _, digest in before.files.values()} | set(before.elsewhere.values())
    for path in published(layout):
        name = str(path.relative_to(layout.root))
        if name in scene.damaged or path.suffix != ".mp4":
            continue
        try:
            if path.is_relative_to(layout.videos):
                entry = ledger.videos.get(path.stem)
                known = entry.checksum if entry is not None and entry.state == "present" else ""
                check_video(path, Level.DECODE, known)
                continue
            origin = read_clip(path).origin
            if origin is None:
                yield from _by_others(path, name, ledger, others)
                continue
            record = ledger.clips.get((origin.video, origin.track))
            check_clip(path, origin.video, origin.track, origin.recipe, record, Level.DECODE)
        except ItemError as error:
            yield f"{name} stands in its place damaged: {error.message}"


def _by_others(path: Path, name: str, ledger: LedgerState, others: set[str]) -> Iterator[str]:
    """A clip by another program is one that was there before, to the last byte.

    Where it is recorded, it is recorded as such, and as it is.
    """
    if checksum(path) not in others:
        yield f"{name} does not say what it is"
    video_id, track_id = path.name[:11], path.stem.rpartition("-")[2]
    record = ledger.clips.get((video_id, track_id))
    if record is not None and record.recipe != ORIGINAL:
        yield f"{name} is another program's and is recorded with recipe {record.recipe}"
    elif record is not None:
        check_clip(path, video_id, track_id, "", record, Level.DECODE)


def _records_kept(
    scene: Scene, layout: Layout, ledger: LedgerState, shards: ShardIndex, before: Snapshot
) -> Iterator[str]:
    """What was recorded still is, and is there."""
    now = records(ledger)
    for key, record in before.clips.items():
        if key not in now and key not in ledger.failures:
            yield f"the record of clip {key} is lost"
        elif key in now and now[key].recipe != record.recipe:
            yield f"the record of clip {key} is another's"
    for key in before.failures - frozenset(ledger.failures):
        if key not in now:
            yield f"the record of failed track {key} is lost"
    for video_id in before.videos.keys() - ledger.videos.keys():
        yield f"the record of video {video_id} is lost"
    for key, record in now.items():
        if not _is_there(scene, layout, shards, key, record):
            yield f"clip {key} is recorded and not there as recorded"


def _is_there(
    scene: Scene, layout: Layout, shards: ShardIndex, key: Key, record: ClipRecord
) -> bool:
    place = shards.find(*key)
    if place is not None:
        with suppress(ItemError):
            check_member(place, *key, record.recipe, record, Level.DECODE)
            return True
    for path in layout.tracks.rglob(f"*-{key[1]}.mp4"):
        damaged = str(path.relative_to(layout.root)) in scene.damaged
        if damaged or checksum(path) == record.checksum:
            return True
    return False


def _files_kept(scene: Scene, box: Box, before: Snapshot) -> Iterator[str]:
    """What was there still is: its bytes are the same, wherever the command may not touch it."""
    for name, (_, digest) in before.files.items():
        path = box.root / name
        goes = scene.lets_go and name.startswith("videos_mp4/")
        if name in scene.damaged or goes or (scene.rewrites and path.suffix in (".tar", ".idx")):
            continue
        if not path.exists():
            yield f"{name} was there and is gone"
        elif checksum(path) != digest:
            yield f"{name} is not what it was"


def _kept_somewhere(box: Box, before: Snapshot) -> Iterator[str]:
    """What another root held is there or here: a move ends in one place at least."""
    if not before.elsewhere:
        return
    now = set(elsewhere(box).values())
    now |= {checksum(path) for path in published(Layout(box.root))}
    for name, digest in before.elsewhere.items():
        if digest not in now:
            yield f"{name} is neither where it was nor here"


def _index(box: Box) -> Iterator[str]:
    """The index is old or new, and whole; so is the metadata file."""
    from trackverse_cli.index import open_index

    layout = Layout(box.root)
    known = {checksum(box.folder / folder / f"{NAME}.jsonl.gzip") for folder in ("in", "old")}
    for path in layout.metadata.glob("*.gzip"):
        if checksum(path) not in known:
            yield f"{path.name} is neither the old metadata nor the new"
    if not (layout.index(NAME) / "index.json").exists():
        return
    try:
        index = open_index(layout, NAME)
        tracks = index.manifest.tracks
    except IndexUnusableError as error:
        if "fetch-meta" not in str(error):
            yield f"the index is unusable and nobody says what to do: {error}"
        return
    except (TrackverseError, OSError, ValueError) as error:
        yield f"the index is neither old nor new: {error!r}"
        return
    if tracks not in (3, 4):
        yield f"the index has {tracks} tracks"


def _outside(scene: Scene, box: Box) -> Iterator[str]:
    """What a command writes for a person is whole or not there."""
    from pyarrow import ArrowInvalid, parquet

    from trackverse_cli.manifest import read_head

    for name in scene.outside:
        path = box.folder / name
        if not path.exists():
            continue
        try:
            if name.endswith(".parquet"):
                if parquet.read_table(path).num_rows != 4:
                    yield f"{name} lacks rows"
            elif name.endswith(".manifest"):
                read_head(path)
                json.loads(path.read_bytes().splitlines()[-1])
            elif name.endswith(".html"):
                text = path.read_text()
                if GENERATOR not in text or not text.endswith("</html>\n"):
                    yield f"{name} is half"
            elif not path.read_text().endswith("\n"):
                yield f"{name} is cut off"
        except (ArrowInvalid, TrackverseError, OSError, ValueError) as error:
            yield f"{name} is half: {error!r}"


def _json_files(layout: Layout) -> Iterator[str]:
    for path in (*layout.jobs.rglob("job.json"), *layout.done.rglob("rank-*")):
        if ".tmp" in path.name:
            continue
        try:
            json.loads(path.read_bytes())
        except ValueError as error:
            yield f"{layout.relative(path)} is half: {error}"


def after_again(scene: Scene, box: Box, middle: Snapshot) -> list[str]:
    """Return what is wrong after the command was run again, besides what `verify` says."""
    found = after_fault(scene, box, middle)
    if scene.moves:
        here = {checksum(path) for path in published(Layout(box.root))}
        twice = [name for name, digest in elsewhere(box).items() if digest in here]
        found += [f"{name} is here and was not moved to the end" for name in twice]
    if scene.rewrites:
        return found
    for name, (mtime_ns, digest) in middle.files.items():
        path = box.root / name
        done_twice = path.exists() and path.stat().st_mtime_ns != mtime_ns
        if name.startswith("tracks_mp4/") and name not in scene.damaged and done_twice:
            same = "the same" if checksum(path) == digest else "another"
            yield_told = f"{name} was sound and has been made again ({same} content)"
            found.append(yield_told)
    return found


def leftovers(box: Box) -> list[str]:
    """Return what a killed run left below the root; to be asked after `clean`."""
    found = [
        str(path.relative_to(box.root))
        for path in sorted(box.root.rglob("*"))
        if _HIDDEN.fullmatch(path.name)
    ]
    layout = Layout(box.root)
    for folder in (layout.partial, layout.runs, layout.leases, layout.metadata / ".incoming"):
        if folder.is_dir():
            found += [str(p.relative_to(box.root)) for p in folder.rglob("*") if p.is_file()]
    return [f"{name} is left after clean" for name in dict.fromkeys(found)]


__all__ = ["Snapshot", "after_again", "after_fault", "leftovers", "snapshot"]
