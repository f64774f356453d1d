"""One fault after the other: break, look, run again, look, clean, look."""

from __future__ import annotations

import random
import time
import traceback
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from tests.faults import shim
from tests.faults.box import Box, age, copy_box
from tests.faults.checks import Snapshot, after_again, after_fault, leftovers, snapshot
from tests.faults.faults import KINDS, Kind, lose_power
from tests.faults.scenes import SCENES, Scene, make_template
from tests.faults.workers import asked, reap

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from tests.faults.process import Ended
    from tests.faults.shim import Call


EXPECTED_CODES = (0, 1, 2, 3, 75)
STORAGE_FULL = 75


@dataclass(frozen=True, slots=True)
class Fault:
    """What to break: the call `at` of a scene's command, in the way of a kind."""

    scene: str
    kind: str
    at: int

    @property
    def told(self) -> str:
        """The words that `--only` takes."""
        return f"{self.scene}:{self.kind}:{self.at}"


@dataclass(slots=True)
class Result:
    """What came of one fault.

    Attributes:
        fault: what was broken.
        fired: whether it happened; a thread may have made fewer calls than in the count.
        code: how the broken command ended.
        losses: what is wrong, one line each.
        seconds: how long it all took.
        said: what the broken command printed last.
    """

    fault: Fault
    fired: bool = False
    code: int = 0
    losses: list[str] = field(default_factory=list)
    seconds: float = 0.0
    said: str = ""


@dataclass(frozen=True, slots=True)
class Stage:
    """A scene that is ready to be broken.

    Attributes:
        scene: the command.
        template: what it finds.
        before: that, as a snapshot.
        calls: what the command does when nothing is broken.
    """

    scene: Scene
    template: Box
    before: Snapshot
    calls: tuple[Call, ...]


def set_stage(scene: Scene, folder: Path, web: Path, url: str) -> Stage:
    """Make a scene's folder, and count the calls of its command."""
    work = folder / "count"
    work.mkdir(parents=True, exist_ok=True)
    template = make_template(scene, folder / scene.name, web, url, work / "command.log")
    before = asked(lambda: snapshot(template), work)
    box = copy_box(template, work / "box")
    breaker = shim.Breaker(work, box.folder)
    breaker.set(shim.COUNT)
    ended = box.run(*scene.words, env=scene.env, breaker=breaker)
    reap()
    assert ended.code == scene.code, f"{scene.name} ended with {ended.code}:\n{ended.said}"
    return Stage(scene, template, before, tuple(breaker.calls()))


def plan(stages: Sequence[Stage], seed: int, most: int, most_slow: int) -> list[Fault]:
    """Return the faults of a sweep: every call, or `most` of them for each scene and kind.

    Args:
        stages: the scenes.
        seed: decides which calls, where there are more.
        most: calls for each scene and kind.
        most_slow: the same for scenes that start processes.
    """
    found = []
    for stage in stages:
        for kind in KINDS:
            if kind.power and stage.scene.processes:
                continue  # what its ranks do is broken in a scene of their own
            points = [call.number for call in stage.calls if call.op in kind.ops]
            draw = random.Random(f"{seed} {stage.scene.name} {kind.name}")
            limit = most_slow if stage.scene.processes else most
            if len(points) > limit:
                points = sorted(draw.sample(points, limit))
            found += [Fault(stage.scene.name, kind.name, at) for at in points]
    random.Random(seed).shuffle(found)
    return found


def quick_part(faults: Sequence[Fault], most: int) -> list[Fault]:
    """Return so many faults of a sweep, every scene's first ones before any scene's next."""
    seen: Counter[str] = Counter()
    turns = []
    for fault in faults:
        turns.append((seen[fault.scene], fault))
        seen[fault.scene] += 1
    return [fault for _, fault in sorted(turns, key=lambda one: one[0])][:most]


class Bench:
    """A place to work in: one fault at a time.

    Args:
        folder: of its own.
        stages: the scenes.
    """

    def __init__(self, folder: Path, stages: Iterable[Stage]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._stages = {stage.scene.name: stage for stage in stages}
        self._breaker = shim.Breaker(folder, folder / "box")

    def inject(self, fault: Fault) -> Result:
        """Bring one fault about, and look at what comes of it."""
        begun = time.monotonic()
        result = Result(fault)
        try:
            self._inject(fault, result)
        except Exception:  # noqa: BLE001 - it is told, whatever it is
            result.losses.append(f"the check itself failed: {traceback.format_exc()}")
        result.seconds = time.monotonic() - begun
        return result

    def _inject(self, fault: Fault, result: Result) -> None:
        stage = self._stages[fault.scene]
        kind = next(kind for kind in KINDS if kind.name == fault.kind)
        scene, breaker = stage.scene, self._breaker
        template = Box(stage.template.folder, stage.template.url, self._folder / "command.log")
        box = copy_box(template, self._folder / "box")
        kind.set(breaker, fault.at)
        ended = box.run(*scene.words, env=scene.env, breaker=breaker)
        reap()
        result.fired, result.code, result.said = breaker.fired, ended.code, ended.said[-2000:]
        if not result.fired:
            return
        result.losses += _ending(kind, scene, ended)
        if kind.power:
            lose_power(box.folder, breaker.calls(), breaker.backup, kind.power == "names")
        losses, middle = asked(
            lambda: (after_fault(scene, box, stage.before), snapshot(box)), self._folder
        )
        result.losses += losses
        result.losses += self._again(scene, box, middle)

    def _again(self, scene: Scene, box: Box, middle: Snapshot) -> list[str]:
        """Return what is wrong after the command has been run again, and after `clean`."""
        ended = box.run(*scene.words, env=scene.env)
        # What was whole before the kill need not be made: that is an error for `config init`.
        codes = (scene.code, 0, 2) if not scene.completes else (scene.code, 0)
        if ended.code not in codes:
            return [f"run again, it ended with {ended.code}: {ended.said[-1500:]}"]
        found = asked(lambda: after_again(scene, box, middle), self._folder)
        if not scene.completes:
            return found
        for words in (*scene.rest, ("verify", "--level", "checksum")):
            found += _must(box, words, scene)
        age(box.root)
        found += _must(box, ("clean",), scene)
        found += leftovers(box)
        return found + _must(box, ("verify", "--level", "checksum"), scene)


def _must(box: Box, words: tuple[str, ...], scene: Scene) -> list[str]:
    ended = box.run(*words, env=scene.env)
    return [] if ended.code == 0 else [f"{words} ended with {ended.code}: {ended.said[-1500:]}"]


def _ending(kind: Kind, scene: Scene, ended: Ended) -> list[str]:
    """Return what is wrong with how a broken command ended."""
    if ended.crashed:
        return [f"it crashed: {ended.said[-1500:]}"]
    if kind.kills:
        # A rank that dies of it is started again by its submitter.
        return (
            [] if ended.killed or scene.processes else [f"it ended with {ended.code}, not killed"]
        )
    if ended.code not in EXPECTED_CODES:
        return [f"it ended with {ended.code}: {ended.said[-500:]}"]
    if ended.code and not ended.said.strip():
        return ["it failed and said nothing"]
    return []


def as_json(result: Result) -> dict[str, object]:
    """Return a result as JSON holds it."""
    return asdict(result)


def scenes_named(names: Sequence[str] | None) -> list[Scene]:
    """Return the scenes of these names, all if None."""
    return [scene for scene in SCENES if names is None or scene.name in names]
