"""What is selected of one metadata file or several, and how ranks share it."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.project import Project
from tests.services.web import HostileServer
from tests.videos import make_video
from trackverse_cli.catalog import FROZEN_VARIABLE, Catalog, open_catalog
from trackverse_cli.config import load_config
from trackverse_cli.errors import UsageError
from trackverse_cli.ledger import Ledger
from trackverse_cli.shards import assign, shard_rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CLASSES = ("dog", "cat", "bow-tie", "fire engine")
Key = tuple[str, str]


def key_of(line: dict[str, Any]) -> Key:
    return line["yid"], line["track_id"]


def seconds_of(line: dict[str, Any]) -> float:
    return float(line["frame_ts"][-1] - line["frame_ts"][0])


def class_of(line: dict[str, Any]) -> str:
    return str(line["top10_label_names"][0])


class Library:
    """Two overlapping metadata files, indexed with their lines in three orders."""

    def __init__(self, folder: Path) -> None:
        draw = random.Random(7)
        self.one, self.two = self._lines(folder, draw)
        self.lines = {key_of(line): line for line in [*self.one, *self.two]}
        self.roots = []
        for order in range(3):
            project = Project(folder / str(order))
            project.folder.mkdir()
            for name, lines in (("One", self.one), ("Two", self.two)):
                project.name, project.lines = name, list(lines)
                draw.shuffle(project.lines)
                project.fetch()
            self.roots.append(project.root)
        self.videos = folder / "videos.txt"
        self.excluded = folder / "excluded.txt"
        self.tracks = folder / "tracks.txt"
        ids = sorted({line["yid"] for line in self.lines.values()})
        self.listed, self.left_out = set(ids[::2]), set(ids[::5])
        self.videos.write_text("".join(f"{name}\n" for name in ids[::2]))
        self.excluded.write_text("".join(f"{name}\r\n" for name in ids[::5]))
        names = [line["track_mp4_filename"] for line in self.lines.values()][::3]
        self.named = set(names)
        self.tracks.write_text("".join(f"elsewhere/{n.rpartition('/')[2]}\n" for n in names))

    @staticmethod
    def _lines(folder: Path, draw: random.Random) -> tuple[list[Any], list[Any]]:
        maker = Project(folder)
        for video in range(17):
            for _ in range(draw.choice([1, 1, 2, 3, 9])):
                first = draw.random() * 10
                label = draw.choice(CLASSES)
                maker.track(
                    f"video-{video:05d}", first, first + 1 + draw.random() * 5,
                    top10_label_names=[label, "other"], top10_label_ids=[CLASSES.index(label), 9],
                )  # fmt: skip
        lines: list[Any] = maker.lines
        half = len(lines) // 2
        return lines[: half + 6], lines[half - 6 :]

    def open(self, names: list[str], order: int = 0, **selection: Any) -> Catalog:
        flags: dict[str, Any] = {"dataset.root": self.roots[order], "dataset.metadata": names}
        flags |= {f"selection.{key}": value for key, value in selection.items()}
        return open_catalog(load_config(None, flags, {}))

    def expected(self, names: list[str], selection: dict[str, Any]) -> set[Key]:
        """Every track that fulfils all conditions but the number per class."""
        lines = {"One": self.one, "Two": self.two}
        found = [line for name in names for line in lines[name]]
        if classes := selection.get("classes"):
            found = [line for line in found if class_of(line) in classes]
        if least := selection.get("min_seconds"):
            found = [line for line in found if seconds_of(line) >= least]
        if "videos" in selection:
            found = [line for line in found if line["yid"] in self.listed]
        if "exclude_videos_of" in selection:
            found = [line for line in found if line["yid"] not in self.left_out]
        if "tracks" in selection:
            found = [line for line in found if line["track_mp4_filename"] in self.named]
        return {key_of(line) for line in found}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return Library(tmp_path_factory.mktemp("library"))


def selected(catalog: Catalog, rows: np.ndarray[Any, Any] | None = None) -> list[Key]:
    videos = catalog.videos(rows)
    return [(t.video_id, t.track_id) for video in videos for t in video.selected]


def listed(catalog: Catalog) -> list[Key]:
    found: list[Key] = []
    for table in catalog.clips():
        found += zip(table["video_id"].to_pylist(), table["track_id"].to_pylist(), strict=True)
        rows = table["video_row"].to_pylist()
        assert [catalog.video_ids[row] for row in rows] == table["video_id"].to_pylist()
    return found


WORLDS = st.one_of(st.integers(1, 20), st.sampled_from([127, 1024, 4095, 4096]))
METAS = st.sampled_from([["One"], ["Two"], ["One", "Two"], ["Two", "One"]])


@st.composite
def selections(draw: st.DrawFn) -> dict[str, Any]:
    """Some conditions; files stand as True."""
    found: dict[str, Any] = {}
    if draw(st.booleans()):
        found["classes"] = sorted(draw(st.sets(st.sampled_from(CLASSES), min_size=1)))
    if draw(st.booleans()):
        found["min_seconds"] = draw(st.floats(0.5, 6))
    if draw(st.booleans()):
        found["per_class"] = draw(st.integers(1, 12))
    return found | dict.fromkeys(
        draw(st.sets(st.sampled_from(["videos", "exclude_videos_of", "tracks"]))), True
    )


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(selections(), METAS, WORLDS, st.integers(0, 2))
def test_shards_are_apart_and_whole_for_any_selection_world_and_order(
    library: Library, asked: dict[str, Any], metas: list[str], world: int, order: int
) -> None:
    paths = {
        "videos": library.videos,
        "exclude_videos_of": library.excluded,
        "tracks": library.tracks,
    }
    selection = {key: paths.get(key, value) for key, value in asked.items()}
    possible = library.expected(metas, asked)
    if not possible:
        with pytest.raises(UsageError, match="no track of"):
            library.open(metas, order, **selection)
        return
    catalog = library.open(metas, order, **selection)
    ranks = np.unique(assign(catalog.costs, world)).tolist()
    shards = [shard_rows(catalog.costs, rank, world) for rank in ranks]
    together = [key for rows in shards for key in selected(catalog, rows)]
    assert len(together) == len(set(together))
    assert sorted(together) == sorted(listed(catalog))
    # Whatever the order of lines and of files, the same tracks are meant.
    other = library.open(metas[::-1], (order + 1) % 3, **selection)
    assert set(listed(other)) == set(together)
    if "per_class" not in asked:
        assert set(together) == possible
        return
    available = Counter(class_of(library.lines[key]) for key in possible)
    kept = Counter(class_of(library.lines[key]) for key in together)
    assert set(together) <= possible
    assert kept == {c: min(n, asked["per_class"]) for c, n in available.items()}
    fewer = library.open(metas, order, **selection | {"per_class": max(1, asked["per_class"] // 2)})
    assert set(listed(fewer)) <= set(together)


def test_every_world_size_is_apart_and_whole(library: Library) -> None:
    catalog = library.open(["One", "Two"], per_class=9)
    everything = set(range(len(catalog.costs)))
    for world in range(1, 4097, 37):
        ranks = assign(catalog.costs, world)
        assert len(ranks) == len(everything)
        assert 0 <= ranks.min() <= ranks.max() < world


def test_the_geometry_of_a_video_comes_from_all_files(library: Library) -> None:
    catalog = library.open(["One", "Two"], per_class=1)
    for video in catalog.videos():
        known = {key for key in library.lines if key[0] == video.video_id}
        assert {(t.video_id, t.track_id) for t in video.tracks} == known
        assert len(video.tracks) == len(known)


def test_costs_follow_what_is_selected(library: Library) -> None:
    whole, part = library.open(["One", "Two"]), library.open(["One", "Two"], per_class=2)
    assert part.costs.sum() < whole.costs.sum()
    assert (part.costs > 3.0).all()


def test_a_clip_name_of_two_files_counts_once(project: Project) -> None:
    project.name = "One"
    line = project.track("aaaaaaaaaa1", 0, 2)
    project.fetch()
    project.name, project.lines = "Two", []
    project.track("aaaaaaaaaa1", 0, 2, track_id=line["track_id"], track_mp4_filename="Two/x.mp4")
    project.track("bbbbbbbbbb2", 0, 2, track_mp4_filename=line["track_mp4_filename"])
    project.track("bbbbbbbbbb2", 1, 3, track_id="new", track_mp4_filename="Two/new.mp4")
    project.fetch()
    answer = project.run("verify", "--meta", "One", "--meta", "Two", "--json").exits(1).json
    assert answer["clips"]["expected"] == 2
    assert answer["metadata"] == "One+Two"
    answer = project.run("verify", "--meta", "Two", "--meta", "One", "--json").exits(1).json
    assert answer["clips"]["expected"] == 3


def test_refused_lines_belong_to_rank_0_and_to_everything(project: Project) -> None:
    for name in ("One", "Two"):
        project.name, project.lines = name, [b"garbage"]
        project.track(f"{name}-aaaaaaaaaa"[:11], 0, 2, track_mp4_filename=f"{name}.mp4")
        project.fetch()
    both = ("--meta", "One", "--meta", "Two", "verify", "--json", "--level", "presence")
    assert project.run(*both).json["clips"] == {
        "expected": 4, "complete": 0, "missing": 2, "damaged": 0, "unrecoverable": 2,
    }  # fmt: skip
    ranks = [project.run(*both, "--world-size", "2", "--rank", str(r)).json for r in (0, 1)]
    assert [one["clips"]["unrecoverable"] for one in ranks] == [2, 0]
    assert sum(one["clips"]["expected"] for one in ranks) == 4
    for more in (("--per-class", "9"), ("--min-seconds", "1"), ("--classes", "disc")):
        assert project.run(*both, *more).json["clips"]["expected"] == 2


def test_a_choice_is_kept_for_other_ranks_and_may_be_lost(library: Library) -> None:
    root = library.roots[0]
    first = library.open(["One"], per_class=3)
    kept = root / "state" / f"selection-{first.key}.npz"
    before = kept.stat().st_mtime_ns
    again = library.open(["One"], per_class=3)
    assert kept.stat().st_mtime_ns == before
    assert listed(again) == listed(first)
    kept.write_bytes(kept.read_bytes()[:100])
    assert listed(library.open(["One"], per_class=3)) == listed(first)
    kept.unlink()
    assert listed(library.open(["One"], per_class=3)) == listed(first)


def of_classes(found: list[Key], library: Library) -> Counter[str]:
    return Counter(class_of(library.lines[key]) for key in found)


def test_what_is_gone_is_replaced_until_the_job_is_submitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = Library(tmp_path)
    layout = Project(tmp_path / "0").layout
    before = library.open(["One", "Two"], per_class=4, refill=True)
    first = listed(before)
    with Ledger(layout, "download-tracks", 0, 1, "One") as ledger:
        recipe = _recipe(library)
        for video_id, track_id in first[:2]:
            ledger.track(video_id, track_id, recipe, "beyond-end", "over")
        ledger.track(*first[2], "another recipe", "beyond-end", "over")
        ledger.track(*first[3], recipe, "video-damaged", "may come again")
        ledger.clips(first[4][0], recipe, [(first[4][1], 1, 1, "a")])
        ledger.video(first[4][0], "failed", reason="permanent", message="gone since")
    after = library.open(["One", "Two"], per_class=4, refill=True)
    second = listed(after)
    gone = {*first[:2], *(key for key in library.lines if key[0] == first[4][0])} - {first[4]}
    assert not gone & set(second)
    assert set(first) - gone <= set(second)
    assert of_classes(second, library) == of_classes(first, library)
    # Without it the same tracks are meant as ever, and a running job keeps what it began with.
    assert set(listed(library.open(["One", "Two"], per_class=4))) == set(first)
    monkeypatch.setenv(FROZEN_VARIABLE, before.key)
    assert listed(library.open(["One", "Two"], per_class=4, refill=True)) == first
    with pytest.raises(UsageError, match="submit the job again"):
        library.open(["One", "Two"], per_class=5, refill=True)


def _recipe(library: Library) -> str:
    from trackverse_cli.recipe import recipe_id

    return recipe_id(load_config(None, {"dataset.root": library.roots[0]}, {}).settings)


@pytest.fixture
def server() -> Iterator[HostileServer]:
    with HostileServer() as server:
        yield server


IDS = ("aaaaaaaaaa1", "bbbbbbbbbb2", "cccccccccc3")


def test_two_files_another_world_and_an_interruption_do_nothing_twice(
    project: Project, server: HostileServer, tmp_path: Path
) -> None:
    for video_id in IDS:
        server.serve(f"{video_id}.mp4", make_video(tmp_path / f"{video_id}.mp4", frames=70))
        project.track(video_id, 0.2, 1.4)
    project.env["TRACKVERSE_DOWNLOAD__URL_TEMPLATE"] = server.url_template
    project.fetch()
    shared = project.lines[0]
    project.name, project.lines = "Other", [shared]
    project.track(IDS[0], 0.5, 2.0, track_id="o0", track_mp4_filename="Other/0.mp4")
    project.track(IDS[2], 0.5, 2.0, track_id="o2", track_mp4_filename="Other/2.mp4")
    project.fetch()
    # Interrupted: of the first file alone, as one rank of another world, two videos were done.
    alone = ("--meta", "Tiny", "download-tracks", "--remove-videos")
    project.run(*alone, "--limit", "2").exits(0)
    before = {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in _clips(project)}
    asked = Counter(request.name for request in server.requests)
    assert len(before) == 2
    both = ("--meta", "Tiny", "--meta", "Other")
    for rank in range(3):
        words = ("download-tracks", "--remove-videos", "--world-size", "3", "--rank", str(rank))
        project.run(*both, *words).exits(0)
    project.run(*both, "verify", "--level", "decode").exits(0)
    after = {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in _clips(project)}
    assert len(after) == 5
    assert {path: after[path] for path in before} == before
    now = Counter(request.name for request in server.requests)
    once = max(asked.values())
    # A video gone again is asked for once more, where the second file needs it; the last video
    # serves both files at once; the one in between is not asked for again.
    cut = {line["done"][0][0] for line in project.ledger() if line["kind"] == "clips"}
    assert len(cut) >= 3
    assert now[f"{IDS[1]}.mp4"] == once
    assert now[f"{IDS[2]}.mp4"] == once
    assert now[f"{IDS[0]}.mp4"] == 2 * once
    project.run("--meta", "Other", "download-tracks", "--remove-videos").exits(0)
    assert Counter(request.name for request in server.requests) == now
    assert list(project.layout.videos.rglob("*.mp4")) == []


def _clips(project: Project) -> list[Path]:
    return sorted(project.layout.tracks.rglob("*.mp4"))
