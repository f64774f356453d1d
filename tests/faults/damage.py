"""Damage to what lies on the disk: bits flipped, a ledger torn, garbage in it, a disk gone."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults.box import IDS, NAME, Box, flip
from tests.faults.checks import snapshot
from tests.faults.kit import NO_ENV, SEED, Kit
from tests.faults.scenes import SHARDS, complete, complete_in_shards
from tests.faults.workers import asked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.faults.process import Ended


def _files(box: Box) -> list[Path]:
    """Return every file below the root that holds something."""
    found = [path for path in sorted(box.root.rglob("*")) if path.is_file()]
    return [path for path in found if path.stat().st_size]


def _flips(kit: Kit, prepare: Callable[[Box], None], env: Mapping[str, str], tries: int) -> None:
    """Turn one bit of each file over: `verify` names it, or it does no harm; then it is mended."""
    box = kit.box(prepare)
    names = [str(path.relative_to(box.root)) for path in _files(box)]
    for name in names:
        for number in range(tries):
            draw = random.Random(f"{SEED} {name.split('/')[0]} {Path(name).suffix} {number}")
            box = kit.box(prepare)
            path = next(p for p in _files(box) if _same_role(p, box.root / name))
            before = kit.look(box)
            share = draw.random()
            flip(path, share, draw.randrange(8))
            kit.injected += 1
            told = f"bit flipped in {name} at {share:.3f}"
            found = box.run("verify", "--level", "checksum", env=env)
            if not kit.calm(found, told):
                continue
            _named(kit, found, path.relative_to(box.root), told)
            if path.is_relative_to(box.root / "videos_mp4"):
                box.run("verify", "--level", "checksum", env=env)  # knows it still
            if found.code == 2 and "fetch-meta" in found.said:
                box.run("fetch-meta", "{box}/in/" + f"{NAME}.jsonl.gzip")
            kit.mended(box, told, env)
            hit = str(path.relative_to(box.root))
            spares = hit.startswith(("ledger/", "state/")) or path.suffix in (".tar", ".idx")
            kit.only_changed(before, box, lambda n, h=hit, s=spares: n == h or s, told)


def _same_role(path: Path, other: Path) -> bool:
    """Say whether two files, whose names hold the id of a run, are the same one's."""
    if path.parent.name != other.parent.name or path.suffix != other.suffix:
        return False
    return path.name == other.name or (
        path.parent.name in ("ledger", "tracks_tar")
        and path.name.split("-")[1:3] == other.name.split("-")[1:3]
    )


def _named(kit: Kit, found: Ended, path: Path, told: str) -> None:
    """A damaged clip, video, shard, index or metadata file has to be named by `verify`."""
    top = path.parts[0]
    if path.suffix == ".idx":
        return  # the tar says all that it says, and is what counts
    words = {"tracks_mp4": path.stem, "videos_mp4": path.stem, "tracks_tar": path.stem}
    words |= {"index": "index", "metadata": path.name}
    if top in words:
        said = "".join(found.said.split())
        fine = found.code != 0 and words[top].replace(" ", "") in said
        kit.expect(
            fine, f"{told}: verify ended with {found.code} and did not name it: {found.said}"
        )


def flips_in_files(kit: Kit) -> None:
    _flips(kit, complete, NO_ENV, 2)


def flips_in_shards(kit: Kit) -> None:
    _flips(kit, complete_in_shards, SHARDS, 2)


def torn_ledger(kit: Kit) -> None:
    """Cut a ledger at every byte of its last two lines; what came before is still read."""
    box = kit.box(complete)
    (path,) = (box.root / "ledger").glob("*extract-tracks*")
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    begin_of_last = len(whole) - len(lines[-1]) - len(lines[-2])
    first = json.loads(lines[1])["done"]
    cuts = list(range(begin_of_last, len(whole)))

    def look() -> list[int]:
        bad = []
        for cut in cuts:
            path.write_bytes(whole[:cut])
            known = snapshot(box).clips
            if not all((IDS[0], one[0]) in known for one in first):
                bad.append(cut)
        return bad

    kit.injected += len(cuts)
    for cut in asked(look, kit.place):
        kit.losses.append(f"ledger cut at byte {cut}: an earlier line is lost")
    for cut in random.Random(SEED).sample(cuts, 3):
        path.write_bytes(whole[:cut])
        kit.mended(box, f"ledger cut at byte {cut}")


def garbage_in_ledger(kit: Kit) -> None:
    draw = random.Random(SEED)
    pieces = [
        bytes(40),
        b"\xff\xfe{",
        b"{" * 5000,
        b"\n" * 9,
        draw.randbytes(300),
        b'{"kind":"video"}\n',
    ]
    for piece in pieces:
        box = kit.box(complete)
        before = kit.look(box)
        for path in (box.root / "ledger").iterdir():
            content = path.read_bytes()
            at = draw.randrange(len(content))
            path.write_bytes(content[:at] + piece + content[at:])
        kit.injected += 1
        told = f"garbage {piece[:8]!r} in the ledger"
        kit.mended(box, told)
        kit.only_changed(before, box, lambda _: False, told)


def dead_disk(kit: Kit) -> None:
    """A folder is gone: what was in it is brought again, and nothing else."""
    clips = f"tracks_mp4/{NAME}/{IDS[0][:2]}"
    for gone, expected in (("videos_mp4", ()), (clips, ("tracks_mp4", clips)), ("tracks_mp4", ())):
        box = kit.box(complete)
        before = kit.look(box)
        shutil.rmtree(box.root / gone)
        kit.injected += 1
        told = f"{gone} is gone"
        kit.mended(box, told)
        if gone != "videos_mp4" and not expected:
            continue
        kit.only_changed(before, box, lambda n, g=gone: n.startswith(g), told)
    for top in ("videos_mp4", "tracks_mp4", "ledger", "state"):
        box = kit.box(complete)
        shutil.move(box.root / top, box.folder / "disk")
        (box.root / top).symlink_to(box.folder / "unmounted")
        kit.injected += 1
        told = f"{top} is a link to a disk that is not there"
        for words in (("verify",), ("download-tracks",), ("clean",)):
            kit.calm(box.run(*words), f"{told}, {words[0]}")
        (box.root / top).unlink()
        (box.root / top).symlink_to(box.folder / "disk")
        kit.mended(box, told)
