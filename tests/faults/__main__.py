"""The command line of the sweep; see `tests.faults`."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.faults import shim
from tests.faults.tally import render, tally

QUICK_FAULTS = 27


def _say(told: str) -> None:
    """Tell the person who waits."""
    sys.stderr.write(f"{told}\n")


def main() -> int:
    """Load the counting library, then sweep."""
    options = _options()
    if not shim.has_compiler():
        _say("no C compiler: the sweep needs one to build its counting library")
        return 3
    if shim.LOADED not in os.environ:
        _begin_anew()
    folder = Path(tempfile.mkdtemp(prefix="trackverse-faults-", dir=_place()))
    try:
        return _sweep(options, folder)
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            _say(f"kept: {folder}")


def _place() -> str | None:
    """Return a folder in memory where there is one: the disk's own pace tells nothing here."""
    memory = Path("/dev/shm")
    enough = memory.is_dir() and shutil.disk_usage(memory).free > 500 << 20
    return str(memory) if enough and os.access(memory, os.W_OK) else None


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=20260)
    parser.add_argument("--quick", action="store_true", help="a small part of it")
    parser.add_argument("--most", type=int, default=40, help="calls for each command and kind")
    parser.add_argument("--most-slow", type=int, default=6, help="the same where processes start")
    parser.add_argument("--scene", action="append", help="this scene alone; may be repeated")
    parser.add_argument("--kind", action="append", help="this kind alone; may be repeated")
    parser.add_argument("--happening", action="append", help="only those with these words")
    parser.add_argument("--only", action="append", help="SCENE:KIND:CALL; may be repeated")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no more after so long")
    parser.add_argument("--keep", action="store_true", help="keep the folders")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--results", type=Path, help="write the figures there as Markdown")
    parser.add_argument("--calls", action="store_true", help="only list the calls of each scene")
    return parser.parse_args()


def _begin_anew() -> None:
    """Run this program again with the library loaded, and with no threads but its own."""
    folder = Path(tempfile.mkdtemp(prefix="trackverse-faults-library-"))
    library = shim.build(folder)
    loaded = [str(library), *filter(None, [os.environ.get("LD_PRELOAD")])]
    os.environ |= {
        shim.LOADED: str(library),
        "LD_PRELOAD": " ".join(loaded),
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
        "YTDLP_NO_PLUGINS": "1",
        "XDG_CONFIG_HOME": str(folder / "no-config"),
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    for name in [name for name in os.environ if name.startswith("TRACKVERSE_")]:
        del os.environ[name]
    os.execv(sys.executable, [sys.executable, "-m", "tests.faults", *sys.argv[1:]])


def _serve(web: Path) -> tuple[int, str]:
    """Serve a folder from a process that is nobody's child; return what ends it, and its address.

    It ends when the descriptor is closed here and in every fork of this process.
    """
    said, say = os.pipe()
    until, life = os.pipe()
    pid = os.fork()
    if not pid:
        if os.fork():
            os._exit(0)
        os.close(life)
        try:
            _serve_until(web, until, say)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    os.close(say)
    os.close(until)
    with os.fdopen(said) as file:
        return life, file.readline().strip()


def _serve_until(web: Path, until: int, say: int) -> None:
    from tests.services.web import HostileServer

    with HostileServer() as server:
        for path in web.glob("*.*"):
            server.serve(path.name, path)
        os.write(say, f"{server.url('')[:-1]}\n".encode())
        os.close(say)
        os.read(until, 1)


def _sweep(options: argparse.Namespace, folder: Path) -> int:
    from tests.faults.box import make_media
    from tests.faults.happenings import happenings
    from tests.faults.kit import happen
    from tests.faults.sweep import Bench, Fault, as_json, plan, quick_part, scenes_named, set_stage
    from tests.faults.warm import warm_up
    from tests.faults.workers import adopt_orphans, asked, work_off

    begun = time.monotonic()
    web = folder / "web"
    web.mkdir()
    asked(lambda: make_media(web), folder)
    server, url = _serve(web)
    adopt_orphans()
    try:
        # Imported once, here: every command is a fork of this process.
        warm_up(folder, web, url)
        _say(f"ready after {time.monotonic() - begun:.1f} s")
        only = [Fault(a, b, int(c)) for a, b, c in (x.split(":") for x in options.only or ())]
        names = options.scene or sorted({f.scene for f in only}) or None
        scenes = scenes_named(names)
        if options.quick:
            scenes = [one for one in scenes if one.quick]
        if options.happening:
            scenes = []
        stages = []
        for scene in scenes:
            at = time.monotonic()
            stages.append(set_stage(scene, folder / "scenes", web, url))
            _say(f"{scene.name}: {len(stages[-1].calls)} calls, {time.monotonic() - at:.1f} s")
        if options.calls:
            for stage in stages:
                for call in stage.calls:
                    _say(f"{stage.scene.name} {call.number} {call.op} {call.path} {call.other}")
            return 0
        faults = only or plan(stages, options.seed, options.most, options.most_slow)
        faults = quick_part(faults, QUICK_FAULTS) if options.quick else faults
        faults = [f for f in faults if not options.kind or f.kind in options.kind]

        def inject(fault: Fault, place: Path) -> dict[str, object]:
            return as_json(Bench(place, stages).inject(fault))

        results = work_off(faults, folder, inject, options.workers, begun + 60 * options.minutes)
        others = [] if only or options.kind else happenings(options.happening, options.quick)
        happened = work_off(
            others, folder, lambda one, place: happen(one, place, web, url), options.workers
        )
    finally:
        os.close(server)
    counts = {stage.scene.name: len(stage.calls) for stage in stages}
    seconds = time.monotonic() - begun
    figures = tally(results, happened, counts, options.seed, seconds)
    if options.results:
        options.results.write_text(render(figures))
    sys.stdout.write(json.dumps(figures) + "\n" if options.json else render(figures))
    return 1 if figures["losses"] else 0


if __name__ == "__main__":
    sys.exit(main())
