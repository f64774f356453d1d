"""What brings a happening about works with: a fresh box, a look, and a list of losses."""

from __future__ import annotations

import shutil
import time
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.faults.box import Box
from tests.faults.checks import Snapshot, snapshot
from tests.faults.sweep import EXPECTED_CODES
from tests.faults.workers import asked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.faults.process import Ended


SEED = 20260

NO_ENV: dict[str, str] = {}


@dataclass(slots=True)
class Kit:
    """What a happening works with.

    Attributes:
        place: a folder of its own.
        web: the videos that are served, and the metadata.
        url: what they are served under.
        injected: faults so far.
        losses: what is wrong, one line each.
    """

    place: Path
    web: Path
    url: str
    injected: int = 0
    losses: list[str] = field(default_factory=list)

    def box(self, prepare: Callable[[Box], None]) -> Box:
        """Return a new box in the state that `prepare` makes."""
        folder = self.place / "box"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name in ("in", "old"):
            shutil.copytree(self.web / name, folder / name)
        box = Box(folder, self.url, self.place / "command.log")
        prepare(box)
        return box

    def look(self, box: Box) -> Snapshot:
        """Return what lies in a box."""
        return asked(lambda: snapshot(box), self.place)

    def expect(self, holds: object, told: str) -> None:
        """Note a loss unless something holds."""
        if not holds:
            self.losses.append(told)

    def calm(self, ended: Ended, told: str) -> bool:
        """Note a loss if a command ended in a way that no person should see."""
        fine = ended.code in EXPECTED_CODES and not ended.crashed
        self.expect(fine, f"{told}: it ended with {ended.code}: {ended.said[-800:]}")
        return fine

    def mended(self, box: Box, told: str, env: Mapping[str, str] = NO_ENV) -> None:
        """Note a loss unless the next run and `verify` find everything complete."""
        again = box.run("download-tracks", env=env)
        sure = box.run("verify", "--level", "checksum", env=env)
        codes = (again.code, sure.code)
        said = again.said[-400:] + sure.said[-600:]
        self.expect(codes == (0, 0), f"{told}: the next run and verify ended with {codes}: {said}")

    def only_changed(
        self, before: Snapshot, box: Box, may: Callable[[str], bool], told: str
    ) -> None:
        """Note a loss for each clip or video that was made again though nothing was wrong."""
        now = self.look(box)
        for name, known in before.files.items():
            if not may(name) and now.files.get(name) != known:
                self.losses.append(f"{told}: {name} was made again, or is gone")


@dataclass(frozen=True, slots=True)
class Happening:
    """One kind of misfortune.

    Attributes:
        name: what it is called in the figures.
        work: brings it about, some times, and notes what is wrong.
        quick: whether it belongs to the quick part.
    """

    name: str
    work: Callable[[Kit], None]
    quick: bool = True


def happen(one: Happening, place: Path, web: Path, url: str) -> dict[str, Any]:
    """Bring one happening about; return what came of it as JSON holds it."""
    kit = Kit(place, web, url)
    begun = time.monotonic()
    try:
        one.work(kit)
    except Exception:  # noqa: BLE001 - it is told, whatever it is
        kit.losses.append(f"the check itself failed: {traceback.format_exc()}")
    seconds = time.monotonic() - begun
    return {
        "name": one.name, "injected": kit.injected, "losses": kit.losses, "seconds": seconds,
    }  # fmt: skip
