"""`export`: one row for each clip, as training code wants it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from pyarrow import parquet

from trackverse_cli import export_rows, exporting
from trackverse_cli.export_rows import export_schema
from trackverse_cli.files import checksum
from trackverse_cli.outputs import Member, ShardWriter, shards_folder

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from tests.project import Project

VIDEO, OTHER, GONE = "abcdefghijk", "zyxwvutsrqp", "-gone-for-1"


@pytest.fixture
def lab(project: Project) -> Project:
    """Two clips that were cut, one beyond the end, one whose video is gone, a refused line."""
    project.video(VIDEO, frames=60)
    project.track(VIDEO, 0.2, 1.4)
    project.track(VIDEO, 0.6, 1.8, top10_label_ids=[9], top10_label_names=["ball"])
    project.track(VIDEO, 8, 9)
    project.track(GONE, 0.2, 1, top10_label_ids=[], top10_label_names=[])
    project.lines.append(b"garbage")
    project.fetch()
    project.run("extract-tracks")
    return project


def rows_of(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    return rows


def test_a_row_for_each_clip(lab: Project, tmp_path: Path) -> None:
    table = tmp_path / "clips.parquet"
    told = lab.run("export", str(table), "--json").exits(0).json
    assert told["clips"] == {
        "expected": 4, "complete": 2, "missing": 1, "damaged": 0, "unrecoverable": 1,
    }  # fmt: skip
    assert told["rows"] == 4
    assert told["bytes"] == table.stat().st_size
    assert parquet.read_schema(table).remove_metadata() == export_schema()
    rows = {row["track_id"]: row for row in rows_of(table)}
    clip = lab.clip(lab.lines[1])  # type: ignore[arg-type]
    assert rows["t0001"] == {
        "video_id": VIDEO, "track_id": "t0001",
        "path": clip.relative_to(lab.root).as_posix(), "label_id": 9, "label_name": "ball",
        "state": "complete", "reason": None, "frames": rows["t0001"]["frames"],
        "bytes": clip.stat().st_size, "checksum": checksum(clip),
        "seconds": pytest.approx(rows["t0001"]["last_ts"] - 0.6), "first_ts": 0.6,
        "last_ts": rows["t0001"]["last_ts"], "shard": None, "offset": None, "size": None,
    }  # fmt: skip
    assert rows["t0001"]["frames"] >= 28
    late, gone = rows["t0002"], rows["t0003"]
    assert (late["state"], late["reason"], late["path"]) == ("unrecoverable", "beyond-end", None)
    assert (gone["state"], gone["label_id"], gone["checksum"]) == ("missing", None, None)
    about = json.loads(parquet.read_schema(table).metadata[b"trackverse"])
    assert about["schema"] == exporting.SCHEMA_VERSION
    assert about["metadata"][0]["name"] == "Tiny"


def test_only_what_is_complete_and_selected(lab: Project, tmp_path: Path) -> None:
    table = tmp_path / "clips.parquet"
    lab.run("export", str(table), "--complete-only").exits(0).says("2 rows", "1 missing")
    assert {row["state"] for row in rows_of(table)} == {"complete"}
    lab.run("export", str(table), "--classes", "ball").exits(0).says("1 rows")
    assert [row["label_name"] for row in rows_of(table)] == ["ball"]
    assert list(tmp_path.glob(".tv-*")) == []


def test_pandas_like_readers_get_plain_columns(lab: Project, tmp_path: Path) -> None:
    table = tmp_path / "clips.parquet"
    lab.run("export", str(table)).exits(0)
    duckdb = pytest.importorskip("duckdb")
    query = f"SELECT count(*) FROM '{table}' WHERE state = 'complete' AND label_name = 'disc'"
    assert duckdb.sql(query).fetchall() == [(1,)]


def test_damage_shows_at_the_level_that_looks_for_it(lab: Project, tmp_path: Path) -> None:
    clip = lab.clip(lab.lines[0])  # type: ignore[arg-type]
    content = bytearray(clip.read_bytes())
    content[len(content) // 2] ^= 0xFF
    clip.write_bytes(content)
    table = tmp_path / "clips.parquet"
    lab.run("export", str(table)).exits(0).says("2 complete")
    lab.run("export", str(table), "--level", "checksum").exits(0).says("1 damaged")
    damaged = next(row for row in rows_of(table) if row["state"] == "damaged")
    assert damaged["reason"] == "clip-damaged"
    assert damaged["path"] is not None


def test_a_clip_in_a_shard_has_its_place(lab: Project, tmp_path: Path) -> None:
    table = tmp_path / "clips.parquet"
    lab.run("export", str(table)).exits(0)
    line, known = lab.lines[0], next(r for r in rows_of(table) if r["track_id"] == "t0000")
    assert isinstance(line, dict)
    clip = lab.clip(line)
    with ShardWriter(shards_folder(lab.layout), "extract-tracks", 0, 1, "0123456789ab") as writer:
        recipe = next(entry for entry in lab.ledger() if entry["kind"] == "clips")["recipe"]
        name = line["track_mp4_filename"]
        writer.add(clip, Member(VIDEO, "t0000", name, 7, "disc", known["frames"], recipe))
    content = clip.read_bytes()
    clip.unlink()
    lab.run("export", str(table), "--level", "decode").exits(0)
    row = next(row for row in rows_of(table) if row["track_id"] == "t0000")
    assert (row["state"], row["path"], row["frames"]) == ("complete", None, known["frames"])
    assert row["checksum"] == known["checksum"]
    with (lab.root / row["shard"]).open("rb") as shard:
        shard.seek(row["offset"])
        assert shard.read(row["size"]) == content


def test_many_videos_are_written_in_pieces(
    lab: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_rows, "VIDEOS_AT_ONCE", 1)
    monkeypatch.setattr(exporting, "ROWS_IN_GROUP", 1)
    table = tmp_path / "clips.parquet"
    lab.run("export", str(table)).exits(0)
    assert parquet.ParquetFile(table).num_row_groups == 2
    assert len(rows_of(table)) == 4


def test_a_place_that_cannot_be_written(lab: Project, tmp_path: Path) -> None:
    answer = lab.run("export", str(tmp_path / "no" / "clips.parquet")).exits(2)
    answer.says("cannot write the table", "name a file in a folder")
    lab.run("export", str(tmp_path / "x"), "--level", "deep").exits(2).says("no level is called")
