"""The availability manifest: what it holds, that it is the same for the same, and `--only`."""

from __future__ import annotations

import gzip
import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.project import Project
from trackverse_cli import manifest_writer
from trackverse_cli.errors import UsageError
from trackverse_cli.keys import track_keys
from trackverse_cli.manifest import Held, Lost, read_head, read_manifest
from trackverse_cli.manifest_writer import ManifestWriter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

VIDEO, GONE = "abcdefghijk", "-gone-for-1"
FACTS: dict[str, Any] = {
    "made": "2026-11-22T15:30:00Z", "version": "1", "level": "probe", "recipe": "r",
    "settings": {}, "metadata": [], "selection": {},
}  # fmt: skip


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Three clips that are there, one after the end, one without a video, one refused line."""
    project = Project(tmp_path_factory.mktemp("cut"))
    project.video(VIDEO, frames=60)
    for first in (0.2, 0.6, 0.4):
        project.track(VIDEO, first, first + 1.2)
    project.track(VIDEO, 8, 9)
    project.track(GONE, 0.2, 1)
    project.lines.append(b"garbage")
    project.run("fetch-meta", str(project.write_metadata())).exits(0)
    project.run("extract-tracks").exits(1)
    return project


@pytest.fixture
def lab(cut: Project, tmp_path: Path) -> Project:
    """A copy of it that a test may change."""
    shutil.copytree(cut.root, tmp_path / "root")
    return Project(tmp_path, lines=list(cut.lines))


def lines_of(path: Path) -> list[dict[str, Any]]:
    content = path.read_bytes()
    text = gzip.decompress(content) if path.name.endswith(".gz") else content
    return [json.loads(line) for line in text.splitlines()]


def written(lab: Project, name: str = "held.jsonl.gz", *words: str) -> Path:
    path = lab.folder / name
    lab.run("verify", "--manifest", str(path), *words).exits(1)
    return path


def test_it_says_what_is_held_and_what_not_and_why(lab: Project) -> None:
    path = written(lab, "held.jsonl", "--level", "decode")
    head, *body, end = lines_of(path)
    assert head["kind"] == "manifest"
    assert (head["schema"], head["level"], head["clips"], head["lost"]) == (1, "decode", 3, 3)
    assert head["settings"]["encode"]["codec"] == "libx264"
    assert len(head["recipe"]) == 12
    (source,) = head["metadata"]
    assert (source["name"], source["file"]) == ("Tiny", "Tiny.jsonl.gzip")
    assert len(source["checksum"]) == 32
    assert head["selection"] == {}
    assert head["made"].endswith("Z")
    assert [line["kind"] for line in body] == ["clip"] * 3 + ["lost"] * 3
    for line, known in zip(body[:3], lab.lines[:3], strict=True):
        assert isinstance(known, dict)
        assert line == {
            "kind": "clip", "video_id": VIDEO, "track_id": known["track_id"],
            "clip_name": known["track_mp4_filename"], "frames": line["frames"], "label": "disc",
        }  # fmt: skip
        assert 29 <= line["frames"] <= 31
    reasons = {(line["video_id"], line["state"], line["reason"]) for line in body[3:]}
    assert reasons == {
        (VIDEO, "unrecoverable", "beyond-end"),
        (GONE, "missing", "not-tried"),
        ("", "unrecoverable", "invalid-track"),
    }
    assert end.keys() == {"kind", "seal"}
    assert str(lab.folder) not in path.read_text()


def test_the_same_holdings_give_the_same_hash(lab: Project, tmp_path: Path) -> None:
    one = read_head(written(lab))
    other = Project(tmp_path / "other")
    other.folder.mkdir()
    shutil.copytree(lab.root / "tracks_mp4", other.root / "tracks_mp4")
    other.lines = lab.lines[2::-1]
    other.fetch()
    # Another lab, no ledger, lines in another order, presence alone: the frames are looked up.
    path = other.folder / "m.jsonl"
    other.run("verify", "--level", "presence", "--manifest", str(path)).exits(0)
    two = read_head(path)
    assert two.content == one.content
    assert two.lost == 0
    other.clip(other.lines[0]).unlink()  # type: ignore[arg-type]
    other.run("verify", "--manifest", str(path)).exits(1)
    assert read_head(path).content != one.content


def test_a_foreign_clip_of_unknown_frames_is_looked_at(lab: Project) -> None:
    for ledger in lab.layout.ledger.iterdir():
        ledger.unlink()
    lab.clip(lab.lines[0]).write_text("no video")  # type: ignore[arg-type]
    path = written(lab, "m.gz", "--level", "presence")
    assert [line["reason"] for line in lines_of(path) if line["kind"] == "lost"].count(
        "clip-damaged"
    ) == 1
    assert len(read_manifest(path).held()) == 2


def test_only_restricts_every_command(lab: Project) -> None:
    lab.clip(lab.lines[0]).unlink()  # type: ignore[arg-type]
    path = written(lab)
    answer = lab.run("verify", "--only", str(path), "--json").exits(0).json
    assert answer["clips"]["expected"] == 2
    assert answer["reasons"] == {}
    lab.run("extract-tracks", "--only", str(path)).exits(0).says("2 there before")
    planned = lab.run("submit", "--only", str(path), "--dry-run").exits(0)
    assert planned.out == ""
    # A manifest of the restricted set holds the same, and says by which list.
    again = written_complete(lab, "--only", str(path))
    assert again.content == read_head(path).content
    assert again.selection["only"]["name"] == path.name


def written_complete(lab: Project, *words: str) -> Any:
    path = lab.folder / "again.jsonl"
    lab.run("verify", "--manifest", str(path), *words).exits(0)
    return read_head(path)


def test_only_of_a_copy_that_holds_nothing(project: Project) -> None:
    project.track("aaaaaaaaaa1", 1, 2)
    project.fetch()
    path = project.root.parent / "nothing.jsonl.gz"
    project.run("verify", "--manifest", str(path)).exits(1)
    told = "lists no clip: the copy that it tells of holds none"
    project.run("extract-tracks", "--only", str(path)).exits(2).says(path.name, told)


def test_only_of_other_metadata_or_another_recipe(lab: Project) -> None:
    path = written(lab)
    lab.name, lab.lines = "Else", []
    lab.track(GONE, 0, 1)
    lab.fetch()
    lab.run("verify", "--meta", "Else", "--only", str(path)).exits(2).says(
        "no track of Else fulfils --only"
    )
    lab.env["TRACKVERSE_ENCODE__CRF"] = "40"
    lab.run("verify", "--meta", "Tiny", "--only", str(path)).exits(1).says("cut with recipe")


def edited(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    packed = path.name.endswith(".gz")
    content = path.read_bytes()
    lines = (gzip.decompress(content) if packed else content).splitlines(keepends=True)
    text = b"".join(change(lines))
    path.write_bytes(gzip.compress(text) if packed else text)


@pytest.mark.parametrize("name", ["m.jsonl", "m.jsonl.gz"])
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda x: [*x[:1], *x[2:]], "was changed"),
        (lambda x: [x[0], x[2], x[1], *x[3:]], "was changed"),
        (lambda x: [x[0], x[1].replace(b"disc", b"dusk"), *x[2:]], "was changed"),
        (lambda x: [x[0].replace(b"probe", b"decode"), *x[1:]], "was changed"),
        (lambda x: [*x[:-2], x[-2].replace(b"invalid", b"permanent"), x[-1]], "was changed"),
        (lambda x: [*x, x[1]], "was changed"),
        (lambda x: [*x[:2], b"\xff\n", *x[2:]], "was changed"),
        (lambda x: x[:-1], "was cut short"),
        (lambda x: x[:3], "was cut short"),
        (lambda x: x[1:], "is no manifest"),
        (lambda x: [], "is no manifest"),
        (lambda x: [x[0].replace(b'"schema":1', b'"schema":2'), *x[1:]], "has schema 2"),
    ],
    ids=range(12),
)
def test_a_changed_manifest_is_refused(
    tmp_path: Path, name: str, change: Callable[[list[bytes]], list[bytes]], told: str
) -> None:
    path = make(tmp_path / name, 5)
    edited(path, lambda lines: lines)
    assert len(read_manifest(path).held()) == 5
    edited(path, change)
    with pytest.raises(UsageError, match=told):
        read_manifest(path)


def test_a_packed_manifest_that_is_cut_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path / "m.gz", 50)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UsageError, match="cannot read the manifest"):
        read_manifest(path)


def make(path: Path, clips: int) -> Path:
    with ManifestWriter(path) as writer:
        for number in reversed(range(clips)):
            writer.add(
                Held(
                    video_id=VIDEO, track_id=f"t{number:05d}", clip_name="c", frames=9, label="disc"
                )
            )
        writer.add(
            Lost(
                video_id="", track_id="", clip_name="", label="", state="missing",
                reason="invalid-track",
            )
        )  # fmt: skip
        writer.write(**FACTS)
    return path


def test_lines_are_sorted_in_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make(tmp_path / "whole.gz", 1000).read_bytes()
    monkeypatch.setattr(manifest_writer, "LINES_IN_MEMORY", 7)
    assert make(tmp_path / "spooled.gz", 1000).read_bytes() == whole
    ids = [line["track_id"] for line in lines_of(tmp_path / "spooled.gz")[1:-2]]
    assert ids == [f"t{number:05d}" for number in range(1000)]
    held = read_manifest(tmp_path / "spooled.gz").held()
    assert set(held.tolist()) == set(track_keys([VIDEO] * 1000, ids).tolist())
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_a_manifest_that_cannot_be_written(lab: Project) -> None:
    lab.run("verify", "--manifest", "/proc/none/m").exits(2).says("cannot write the manifest")
    lab.run("verify", "--manifest", "no/folder/m").exits(2).says("cannot write the manifest")
    target = lab.folder / "m"
    lab.run("verify", "--rank", "0", "--manifest", str(target)).exits(2).says("leave --rank out")
    assert not target.exists()


def test_it_replaces_an_old_one_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path / "m", 3)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("trackverse_cli.files.fsync_path", full)
    with pytest.raises(UsageError, match="No space left"):
        make(path, 4)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m"]
