"""Which commands are broken, and on what: small dataset folders, each made once and copied."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.faults import originals, shim
from tests.faults.box import IDS, NAME, SOURCE, Box, age, flip

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

SHARDS = {"TRACKVERSE_EXTRACT__OUTPUT": "webdataset"}


@dataclass(frozen=True, slots=True)
class Scene:
    """One command on one dataset folder.

    Attributes:
        name: what it is called in the figures.
        words: the command.
        prepare: makes the folder that it finds.
        env: added to its environment.
        code: its exit code when nothing is broken.
        rest: the commands after which all is complete, each with exit code 0.
        completes: whether `verify` finds everything complete in the end.
        damaged: files, relative to the root, that are damaged from the beginning.
        lets_go: whether it removes source videos or what another root held.
        moves: whether nothing stands in the other root in the end that stands here as well.
        outside: files outside the root that it writes, whole or not at all.
        processes: whether it starts others, which takes seconds.
        rewrites: whether clips may move.
        quick: whether it belongs to the quick part.
    """

    name: str
    words: tuple[str, ...]
    prepare: Callable[[Box], None]
    env: Mapping[str, str] = field(default_factory=dict)
    code: int = 0
    rest: tuple[tuple[str, ...], ...] = ()
    completes: bool = True
    damaged: tuple[str, ...] = ()
    lets_go: bool = False
    moves: bool = False
    outside: tuple[str, ...] = ()
    processes: bool = False
    rewrites: bool = False
    quick: bool = True

    @property
    def command(self) -> str:
        """The command's own name."""
        return "config init" if self.words[0] == "config" else self.words[0]


def clip_path(number: int) -> str:
    """Return where a clip stands, relative to the root."""
    video_id = IDS[number // 2]
    return f"tracks_mp4/{NAME}/{video_id[:2]}/{video_id}-disc-t{number:04d}.mp4"


def _nothing(box: Box) -> None:
    box.root.mkdir()


def _once(make: Callable[[Box], None]) -> Callable[[Box], None]:
    """Make a dataset folder once, and copy it for whoever needs the same."""
    kept: list[Path] = []

    def prepared(box: Box) -> None:
        if not kept:
            make(box)
            kept.append(box.folder.with_name(f"after{make.__name__}"))
            shutil.copytree(box.root, kept[0], symlinks=True)
        elif not box.root.exists():
            shutil.copytree(kept[0], box.root, symlinks=True)

    return prepared


@_once
def indexed(box: Box) -> None:
    box.must("fetch-meta", "{box}/" + SOURCE)


def _older(box: Box) -> None:
    box.must("fetch-meta", "{box}/old/" + f"{NAME}.jsonl.gzip")


@_once
def downloaded(box: Box) -> None:
    indexed(box)
    box.must("download-videos")


@_once
def _half(box: Box) -> None:
    """Everything but the clips of one of two videos."""
    downloaded(box)
    box.must("extract-tracks", "--limit", "1")


@_once
def complete(box: Box) -> None:
    downloaded(box)
    box.must("extract-tracks")


def complete_in_shards(box: Box) -> None:
    downloaded(box)
    box.must("extract-tracks", env=SHARDS)


def _to_verify(box: Box) -> None:
    """One clip is damaged, and nobody has recorded another."""
    complete(box)
    flip(box.root / clip_path(0))
    for path in (box.root / "ledger").glob("*extract-tracks*"):
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(line for line in lines if IDS[1].encode() not in line))
    manifest = box.folder / "held.manifest"
    box.must("verify", "--manifest", str(manifest), code=0)


def _killed_job(box: Box) -> None:
    """A job whose submitter and ranks were all killed."""
    indexed(box)
    with_job = shim.Breaker(box.log.parent, box.folder)
    with_job.set(shim.KILL_AFTER, 60, group=True)
    ended = box.run("submit", "--world-size", "2", breaker=with_job)
    assert ended.killed, f"submit ended with {ended.code}:\n{ended.said}"
    assert list((box.root / "state" / "jobs").rglob("job.json"))


def _to_merge(box: Box) -> None:
    _half(box)
    other = Box(box.folder / "elsewhere", box.url, box.log)
    other.folder.mkdir()
    shutil.copytree(box.folder / "in", other.folder / "in")
    complete(other)


@_once
def left_by_scripts(box: Box) -> None:
    """An index, and in the same folder what the original scripts left."""
    downloaded(box)
    originals.forget(box.root)
    originals.leave(box, box.root)


def _to_adopt(box: Box) -> None:
    """An index alone; another folder is what the original scripts left."""
    left_by_scripts(box)
    (box.folder / "elsewhere").mkdir()
    box.root.rename(box.folder / "elsewhere" / "root")
    indexed(box)


def _to_report(box: Box) -> None:
    """One clip is damaged, and an earlier report is there."""
    complete(box)
    box.must("verify", "--report", "{box}/report.html")
    flip(box.root / clip_path(0))


def _to_export(box: Box) -> None:
    _half(box)
    box.must("export", "{box}/table.parquet")
    box.must("extract-tracks")


def _to_clean(box: Box) -> None:
    _half(box)
    box.must("extract-tracks")
    (box.root / "videos_mp4" / ".partial").mkdir(exist_ok=True)
    (box.root / "videos_mp4" / ".partial" / f"{IDS[0]}.18.mp4.part").write_bytes(b"half")
    (box.root / clip_path(0)).with_name(".tv-0123456789abcdef.tmp").write_bytes(b"half")
    age(box.root)


def _to_clean_shards(box: Box) -> None:
    """A newer shard holds a clip that an older one holds as well."""
    complete_in_shards(box)
    (shard,) = box.root.rglob("*.tar")
    flip(shard, 0.1)
    box.must("verify", "--level", "checksum", code=1, env=SHARDS)
    box.must("extract-tracks", env=SHARDS)
    age(box.root)


AGAIN = (("download-tracks",),)

SCENES: tuple[Scene, ...] = (
    Scene("fetch-meta", ("fetch-meta", "{box}/" + SOURCE), _nothing, rest=AGAIN),
    Scene("fetch-meta-newer", ("fetch-meta", "{box}/" + SOURCE), _older, rest=AGAIN),
    Scene("fetch-meta-url", ("fetch-meta", "{url}/Tiny.jsonl.gzip"), _nothing, rest=AGAIN),
    Scene("download-videos", ("download-videos",), indexed, rest=(("extract-tracks",),)),
    Scene("extract-tracks", ("extract-tracks",), downloaded),
    Scene("extract-shards", ("extract-tracks",), downloaded, env=SHARDS),
    Scene("download-tracks", ("download-tracks", "--remove-videos"), indexed, lets_go=True),
    Scene(
        "verify",
        ("verify", "--level", "checksum", "--manifest", "{box}/held.manifest"), _to_verify,
        code=1, rest=AGAIN, damaged=(clip_path(0),), outside=("held.manifest",),
    ),
    Scene("submit", ("submit", "--world-size", "2"), indexed, processes=True, quick=False),
    Scene("cancel", ("cancel",), _killed_job, rest=AGAIN, quick=False),
    Scene("merge", ("merge", "{box}/elsewhere/root"), _to_merge),
    Scene("merge-move", ("merge", "--move", "{box}/elsewhere/root"), _to_merge, lets_go=True),
    Scene("adopt", ("adopt", "{box}/elsewhere/root"), _to_adopt, code=1, rest=AGAIN),
    Scene(
        "adopt-move", ("adopt", "--move", "{box}/elsewhere/root"), _to_adopt,
        code=1, rest=AGAIN, lets_go=True, moves=True,
    ),
    Scene(
        "adopt-in-place", ("adopt", "--redo", "{box}/root"), left_by_scripts,
        code=1, rest=AGAIN, damaged=(clip_path(originals.SHORT),),
    ),
    Scene(
        "verify-report",
        ("verify", "--level", "checksum", "--report", "{box}/report.html"), _to_report,
        code=1, rest=AGAIN, damaged=(clip_path(0),), outside=("report.html",),
    ),
    Scene("export", ("export", "{box}/table.parquet"), _to_export, outside=("table.parquet",)),
    Scene("clean", ("clean",), _to_clean),
    Scene("clean-shards", ("clean",), _to_clean_shards, env=SHARDS, rewrites=True),
    Scene(
        "config-init", ("config", "init", "{box}/new.toml"), _nothing, completes=False,
        outside=("new.toml",),
    ),
)  # fmt: skip


def make_template(scene: Scene, folder: Path, web: Path, url: str, log: Path) -> Box:
    """Make the folder that a scene's command finds."""
    box = Box(folder, url, log)
    folder.mkdir(parents=True)
    for name in ("in", "old"):
        shutil.copytree(web / name, folder / name)
    scene.prepare(box)
    return box
