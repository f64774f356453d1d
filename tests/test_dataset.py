"""`TrackDataset`: the right frames of the right clips, for every worker and rank."""

from __future__ import annotations

import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.project import Project
from tests.referee import frames_of, rgb
from trackverse_cli.dataset import FrameSampling
from trackverse_cli.errors import DamagedFileError, UsageError
from trackverse_cli.outputs import Member, ShardIndex, ShardWriter, shards_folder
from trackverse_cli.probe import read_clip

torch = pytest.importorskip("torch")

from torch.utils.data import DataLoader  # noqa: E402 - only where torch is

from trackverse_cli.dataset import TrackDataset  # noqa: E402 - it imports torch

VIDEO, OTHER, GONE = "abcdefghijk", "zyxwvutsrqp", "-gone-for-1"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Five clips of two videos in three classes, and one that nobody has."""
    project = Project(tmp_path_factory.mktemp("whole"))
    project.video(VIDEO, frames=100)
    project.video(OTHER, frames=100, rate=24)
    project.track(VIDEO, 0.2, 3.5)
    project.track(VIDEO, 0.8, 2.0, top10_label_ids=[9], top10_label_names=["ball"])
    project.track(VIDEO, 1.0, 1.5, top10_label_ids=[], top10_label_names=[])
    project.track(OTHER, 0.2, 1.4)
    project.track(OTHER, 0.4, 3.9)
    project.track(GONE, 0.2, 1.0)
    project.fetch()
    project.run("extract-tracks")
    return project


@pytest.fixture
def lab(whole: Project, tmp_path: Path) -> Project:
    """A copy that a test may break."""
    shutil.copytree(whole.root, tmp_path / "lab" / "root")
    return Project(tmp_path / "lab", lines=whole.lines)


def into_shards(project: Project, *, keep: bool = False) -> None:
    folder = shards_folder(project.layout)
    with ShardWriter(folder, "extract-tracks", 0, 1, "0123456789ab", max_clips=2) as writer:
        for line in project.lines[:5]:
            assert isinstance(line, dict)
            facts = read_clip(project.clip(line))
            assert facts.origin is not None
            name = (line["yid"], line["track_id"], line["track_mp4_filename"])
            if writer.is_full:
                writer.roll()
            writer.add(
                project.clip(line), Member(*name, 7, "disc", facts.frames, facts.origin.recipe)
            )
    if not keep:
        shutil.rmtree(project.layout.tracks)


@pytest.fixture(params=["files", "shards"])
def either(request: pytest.FixtureRequest, lab: Project) -> Project:
    if request.param == "shards":
        into_shards(lab)
    return lab


def by_track(data: Any) -> dict[str, dict[str, Any]]:
    return {data[number]["track_id"]: data[number] for number in range(len(data))}


def pictures(project: Project, number: int) -> list[Any]:
    line = project.lines[number]
    assert isinstance(line, dict)
    return [rgb(frame) for frame in frames_of(project.clip(line))]


def test_every_frame_of_every_clip(whole: Project, either: Project) -> None:
    data = TrackDataset(either.root)
    assert len(data) == 5
    items = by_track(data)
    for number in range(5):
        item, told = items[f"t{number:04d}"], pictures(whole, number)
        assert item["clip"].dtype == torch.uint8
        assert item["clip"].is_contiguous()
        assert item["clip"].shape == (len(told), 3, *told[0].shape[:2])
        assert item["frames"].tolist() == list(range(len(told)))
        assert (item["clip"].permute(0, 2, 3, 1).numpy() == np.stack(told)).all()


def test_ids_and_labels(either: Project) -> None:
    data = TrackDataset(either.root)
    items = by_track(data)
    assert data.classes == ("ball", "disc")
    told = {t: (i["label_id"], i["label"], i["label_index"]) for t, i in items.items()}
    assert told["t0000"] == (7, "disc", 1)
    assert told["t0001"] == (9, "ball", 0)
    assert told["t0002"] == (-1, "", -1)
    assert items["t0003"]["video_id"] == OTHER
    assert [data[n]["index"] for n in range(5)] == list(range(5))
    assert data[-1]["track_id"] == data[4]["track_id"]
    with pytest.raises(IndexError):
        data[5]


@pytest.mark.parametrize("wanted", [[0], [3], [13, 14], [40], [0, 30, 81], [70, 2, 2], [25, 12]])
def test_only_the_chosen_frames_are_decoded(
    whole: Project, either: Project, wanted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FrameSampling, "pick", lambda *_: np.array(wanted))
    data = TrackDataset(either.root, frames=FrameSampling(len(wanted)))
    clip = data[0]["clip"].permute(0, 2, 3, 1).numpy()
    told = pictures(whole, 0)
    for place, number in enumerate(wanted):
        assert (clip[place] == told[number]).all(), f"frame {number}"


def test_far_frames_cost_no_frames_between(
    either: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trackverse_cli.dataset import frames

    seen: list[int] = []
    real = frames._decoded

    class Noted(dict[int, int]):
        def get(self, stamp: int, default: Any = None) -> Any:
            seen.append(super().get(stamp, default))
            return seen[-1]

    def noted(container: Any, stream: Any, keys: Any, wanted: list[int]) -> Any:
        return real(container, stream, Noted(keys), wanted)

    monkeypatch.setattr(frames, "_decoded", noted)
    monkeypatch.setattr(FrameSampling, "pick", lambda *_: np.array([1, 70]))
    assert TrackDataset(either.root, frames=FrameSampling(2))[0]["track_id"] == "t0000"
    assert seen == [0, 60]


def test_sampling_is_arithmetic() -> None:
    assert FrameSampling(4).pick(100, 0).tolist() == [12, 37, 62, 87]
    assert FrameSampling(4).pick(2, 0).tolist() == [0, 0, 1, 1]
    assert FrameSampling(3, 2, "first").pick(100, 0).tolist() == [0, 2, 4]
    assert FrameSampling(3, 2, "first").pick(4, 0).tolist() == [0, 2, 3]
    dice = FrameSampling(3, 2, "random", seed=5)
    assert dice.pick(100, 7).tolist() == dice.pick(100, 7).tolist()
    starts = {int(dice.pick(9, clip)[0]) for clip in range(200)}
    assert starts == {0, 1, 2, 3, 4}
    assert any((dice.pick(100, n) != dice.pick(100, n, epoch=1)).any() for n in range(5))
    for mode in ("uniform", "random", "first"):
        for frames in (1, 2, 15, 16, 17, 400):
            picked = FrameSampling(16, mode=mode).pick(frames, 3)  # type: ignore[arg-type]
            assert len(picked) == 16
            assert (np.diff(picked) >= 0).all()
            assert picked[0] >= 0
            assert picked[-1] < frames
    for bad in ({"count": 0}, {"count": 2, "stride": 0}, {"count": 2, "mode": "some"}):
        with pytest.raises(UsageError):
            FrameSampling(**bad)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="leave stride out"):
        FrameSampling(2, stride=2)


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_a_loader_with_two_workers(either: Project, context: str) -> None:
    data = TrackDataset(either.root, frames=FrameSampling(4), size=(64, 48))
    loader = DataLoader(data, batch_size=2, num_workers=2, multiprocessing_context=context)
    batches = list(loader)
    assert [len(batch["track_id"]) for batch in batches] == [2, 2, 1]
    assert batches[0]["clip"].shape == (2, 4, 3, 64, 48)
    together = torch.cat([batch["clip"] for batch in batches])
    assert all((together[n] == data[n]["clip"]).all() for n in range(5))
    seen = [track for batch in batches for track in batch["track_id"]]
    assert seen == [f"t{n:04d}" for n in range(5)]


def test_workers_that_stay_hear_of_the_epoch(lab: Project) -> None:
    data = TrackDataset(lab.root, frames=FrameSampling(2, mode="random"), size=(16, 16))
    loader = DataLoader(data, batch_size=5, num_workers=1, persistent_workers=True)
    seen = []
    for epoch in (0, 1, 0):
        data.set_epoch(epoch)
        seen.append(next(iter(loader))["frames"].tolist())
    assert seen[0] == seen[2] != seen[1]


def test_it_can_be_pickled(lab: Project) -> None:
    data = pickle.loads(pickle.dumps(TrackDataset(lab.root, size=(8, 8))))
    assert len(data) == 5
    assert data[0]["clip"].shape[1:] == (3, 8, 8)


def test_a_manifest_fixes_length_and_order(lab: Project, tmp_path: Path) -> None:
    manifest = tmp_path / "held.jsonl.gz"
    lab.run("verify", "--manifest", str(manifest)).exits(1)
    line = lab.lines[1]
    assert isinstance(line, dict)
    lab.clip(line).unlink()
    assert len(TrackDataset(lab.root)) == 4
    data = TrackDataset(lab.root, manifest=manifest)
    assert len(data) == 5
    with pytest.raises(DamagedFileError, match=r"abcdefghijk-disc-t0001\.mp4.*trackverse verify"):
        data[1]
    # Without an index the manifest is enough; only the numbers of the classes are not in it.
    shutil.rmtree(lab.root / "index")
    bare = TrackDataset(lab.root, manifest=manifest)
    assert (len(bare), bare.classes, bare[0]["label_id"]) == (5, ("ball", "disc"), -1)
    manifest.write_bytes(manifest.read_bytes()[:-20])
    with pytest.raises(UsageError, match="manifest"):
        TrackDataset(lab.root, manifest=manifest)


def test_two_ranks_see_disjoint_fixed_parts_of_one_manifest(
    either: Project, tmp_path: Path
) -> None:
    manifest = tmp_path / "held.jsonl"
    lines = [line for line in _manifest_of(either, tmp_path) if line]
    manifest.write_bytes(b"".join(lines))
    parts = [
        TrackDataset(either.root, manifest=manifest, size=(8, 8), rank=rank, world_size=2)
        for rank in (0, 1, 0)
    ]
    seen = [[data[n]["index"] for n in range(len(data))] for data in parts]
    assert [len(part) for part in seen] == [2, 2, 2]
    assert not set(seen[0]) & set(seen[1])
    assert seen[0] == seen[2]
    with pytest.raises(UsageError, match="outside a world"):
        TrackDataset(either.root, rank=2, world_size=2)


def _manifest_of(project: Project, tmp_path: Path) -> list[bytes]:
    """A manifest as a copy in files would write it."""
    import json

    from trackverse_cli.manifest import Held
    from trackverse_cli.manifest_writer import ManifestWriter

    path = tmp_path / "made"
    with ManifestWriter(path) as writer:
        for line in project.lines[:5]:
            assert isinstance(line, dict)
            writer.add(
                Held(
                    video_id=line["yid"], track_id=line["track_id"], label="disc", frames=1,
                    clip_name=line["track_mp4_filename"],
                )
            )  # fmt: skip
        writer.write(
            made="", version="", level="probe", recipe="", settings={}, metadata=[], selection={}
        )
    assert json.loads(path.read_bytes().splitlines()[0])["clips"] == 5
    return path.read_bytes().splitlines(keepends=True)


def test_a_selection(lab: Project) -> None:
    assert [
        i["label"] for i in by_track(TrackDataset(lab.root, select={"classes": ["ball"]})).values()
    ] == ["ball"]
    (lab.root / "trackverse.toml").write_text(
        '[select.few]\nclasses = ["disc"]\nmin_seconds = 2.0\n'
    )
    assert len(TrackDataset(lab.root, select="few")) == 2
    with pytest.raises(UsageError, match="none of the selected"):
        TrackDataset(lab.root, select={"videos": _list_of(lab, GONE)})


def _list_of(project: Project, video_id: str) -> Path:
    path = project.folder / "videos.txt"
    path.write_text(video_id + "\n")
    return path


def test_a_damaged_clip_is_named_or_skipped(either: Project) -> None:
    index = ShardIndex.load(either.layout)
    place = index.find(VIDEO, "t0001")
    line = either.lines[1]
    assert isinstance(line, dict)
    if place is None:
        either.clip(line).write_bytes(b"no video")
    else:
        with place.shard.open("r+b") as file:
            file.seek(place.offset)
            file.write(bytes(place.size))
    with pytest.raises(DamagedFileError, match="abcdefghijk-disc-t0001"):
        TrackDataset(either.root)[1]
    data = TrackDataset(either.root, on_error="skip")
    assert [data[n]["track_id"] for n in range(3)] == ["t0000", "t0002", "t0002"]
    loader = DataLoader(TrackDataset(either.root, size=(8, 8)), batch_size=None, num_workers=2)
    with pytest.raises(DamagedFileError, match="t0001"):
        list(loader)


def test_a_clip_of_another_track_is_no_match(lab: Project) -> None:
    first, second = lab.lines[0], lab.lines[1]
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    shutil.copy(lab.clip(first), lab.clip(second))
    with pytest.raises(DamagedFileError, match="shows track"):
        TrackDataset(lab.root)[1]


def test_clips_of_another_recipe_are_good_enough(lab: Project) -> None:
    (lab.root / "trackverse.toml").write_text("[encode]\ncrf = 40\n")
    assert len(TrackDataset(lab.root)) == 5


def test_a_transform_makes_the_clip(lab: Project) -> None:
    data = TrackDataset(lab.root, size=(8, 8), transform=_halved)
    assert data[0]["clip"].dtype == torch.float32
    assert float(data[0]["clip"].max()) <= 0.5


def _halved(clip: Any) -> Any:
    return clip.float() / 510


def test_torch_is_imported_only_when_it_is_used() -> None:
    code = (
        "import sys, trackverse_cli.dataset, trackverse_cli.app\n"
        "assert 'torch' not in sys.modules\n"
        "from trackverse_cli.dataset import TrackDataset\n"
        "assert 'torch' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    hidden = "import sys; sys.modules['torch'] = None\nimport trackverse_cli.dataset as d\n"
    answer = subprocess.run(
        [sys.executable, "-c", hidden + "d.TrackDataset"], capture_output=True, text=True
    )
    assert "pip install 'trackverse[torch]'" in answer.stderr


def test_the_page_on_training_works_as_written(
    whole: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[1] / "docs" / "training.md").read_text()
    blocks = re.findall(r"```(python|sh)\n(.*?)```", page, re.DOTALL)
    assert len(blocks) >= 7
    shutil.copytree(whole.root, tmp_path / "root")
    project = Project(tmp_path)
    project.lines = whole.lines
    into_shards(project, keep=True)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for language, text in blocks:
        if language == "sh":
            words = text.split()
            assert words.pop(0) == "trackverse"
            assert project.run(*words).code in (0, 1)
        else:
            exec(text, names)  # the page's own words are what is tested
    assert names["table"].num_rows == 5
    assert len(names["parts"][0]) == 2
