"""`docs/schemas.md` held against what the commands really write."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import typer.main
from pyarrow import parquet

from trackverse_cli import manifest
from trackverse_cli.app import app
from trackverse_cli.index import schema as index_schema
from trackverse_cli.index.manifest import MANIFEST_NAME
from trackverse_cli.index.manifest import Manifest as IndexManifest
from trackverse_cli.layout import Layout
from trackverse_cli.ledger import (
    SCHEMA_VERSION as LEDGER_VERSION,
)
from trackverse_cli.ledger import (
    ClipsEntry,
    Ledger,
    RunEntry,
    TrackEntry,
    VideoEntry,
    read_ledger,
)

if TYPE_CHECKING:
    from tests.project import Project

DOCUMENT = Path(__file__).parents[1] / "docs" / "schemas.md"
VIDEO, GONE = "abcdefghijk", "-gone-for-1"
ROW = re.compile(r"\| `([^`]+)` \| ([^|]+) \| ([^|]+) \|")
TYPES: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "list": (list,),
    "null": (type(None),),
    "any": (object,),
}


def sections() -> dict[str, dict[str, str]]:
    """Every section of the document that has a table: heading -> key -> type."""
    found: dict[str, dict[str, str]] = {}
    heading = ""
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif row := ROW.fullmatch(line):
            keys = found.setdefault(heading, {})
            assert row[1] not in keys, f"{heading}: {row[1]} stands there twice"
            keys[row[1]] = row[2].strip()
        else:
            assert not line.startswith("| `"), f"no row of a table: {line}"
    return found


SECTIONS = sections()


def conforms(heading: str, *values: Any) -> None:
    """Hold some values of one kind against a section: keys and types to the letter."""
    told = SECTIONS[heading]
    seen: set[str] = set()
    for value in values:
        walk(value, "", told, seen)
        needed = {key for key, kind in told.items() if "not always" not in kind}
        top = {key for key in needed if "." not in key and "[" not in key and key != "*"}
        assert top <= value.keys(), f"{heading}: {top - value.keys()} is not there"
    optional = {key for key, kind in told.items() if "not always" in kind}
    assert set(told) - seen <= optional, f"{heading}: never seen: {set(told) - seen}"


def walk(value: Any, path: str, told: dict[str, str], seen: set[str]) -> None:
    if path:
        kind = told[path].removesuffix(", not always")
        allowed = tuple(t for name in kind.split(" or ") for t in TYPES[name])
        is_flag = isinstance(value, bool) and not {bool, object} & set(allowed)
        assert isinstance(value, allowed), f"{path}: {value!r} is no {kind}"
        assert not is_flag, f"{path}: {value!r} is no {kind}"
        seen.add(path)
        if kind == "any" or not any(key.startswith(path + c) for key in told for c in ".["):
            return
    if isinstance(value, dict):
        for key, below in value.items():
            named = f"{path}.{key}".removeprefix(".")
            anyhow = f"{path}.*".removeprefix(".")
            assert named in told or anyhow in told, f"{named} is not documented"
            walk(below, named if named in told else anyhow, told, seen)
    elif isinstance(value, list):
        for below in value:
            walk(below, f"{path}[]", told, seen)


@pytest.fixture
def lab(project: Project) -> Project:
    """A dataset with a bit of everything: cut, late, without a video, refused, repeated."""
    project.video(VIDEO, frames=60)
    project.track(VIDEO, 0.2, 1.4)
    project.track(VIDEO, 8, 9)
    project.track(GONE, 0.2, 1)
    project.lines += [project.lines[0], b"garbage"]
    return project


def test_export(lab: Project) -> None:
    lab.fetch()
    lab.run("extract-tracks")
    told = lab.run("export", str(lab.folder / "clips.parquet"), "--json").exits(0).json
    conforms("`export --json`, schema 1", told)
    columns = parquet.read_schema(lab.folder / "clips.parquet")
    assert {f.name: str(f.type) for f in columns} == SECTIONS["Export table, schema 1"]


def test_show(lab: Project) -> None:
    lab.fetch()
    lab.run("extract-tracks")
    shown = [lab.run("show", one, "--json").json for one in (VIDEO, "t0001")]
    shown += [lab.run("show", "--json", "--", GONE).json]
    conforms("`show --json`, schema 1", *shown)


def test_merge(lab: Project) -> None:
    lab.fetch()
    lab.run("extract-tracks")
    other = Layout(lab.folder / "other")
    lab.run("merge", "--root", str(other.root), str(lab.root)).exits(2)
    shutil.copytree(lab.root / "index", other.root / "index", dirs_exist_ok=True)
    shutil.copytree(lab.root / "metadata", other.root / "metadata", dirs_exist_ok=True)
    lab.clip(lab.lines[1]).unlink(missing_ok=True)  # type: ignore[arg-type]
    told = lab.run("merge", "--root", str(other.root), str(lab.root), "--json").json
    conforms("`merge --json`, schema 1", told)


def test_adopt(lab: Project) -> None:
    from tests.original import Script

    line = lab.lines[0]
    assert isinstance(line, dict)
    lab.fetch()
    Script().cut(lab.layout.video_target(VIDEO), line, lab.root)
    (lab.root / "progress.txt").write_text("1")
    conforms("`adopt --json`, schema 1", lab.run("adopt", str(lab.root), "--json").exits(1).json)


def test_plan(lab: Project) -> None:
    lab.run("fetch-meta", str(lab.write_metadata())).exits(0)
    conforms("`plan --json`, schema 1", lab.run("plan", "--json").exits(0).json)


def test_status(lab: Project) -> None:
    lab.fetch()
    lab.run("submit", "--stage", "extract-tracks").exits(1)
    told = lab.run("status", "--json").exits(0).json
    conforms("`status --json`, schema 1", told)


def test_fetch_meta(lab: Project) -> None:
    path = str(lab.write_metadata())
    short = lab.run("fetch-meta", path, "--json", "--no-index").exits(0).json
    whole = lab.run("fetch-meta", path, "--json").exits(0).json
    conforms("`fetch-meta --json`, schema 1", short, whole)
    assert set(whole) == set(SECTIONS["`fetch-meta --json`, schema 1"])
    answer = lab.run("fetch-meta", "--list", "--json").exits(0).json
    conforms("`fetch-meta --list --json`, schema 1", answer)


def test_verify(lab: Project) -> None:
    lab.run("fetch-meta", str(lab.write_metadata())).exits(0)
    lab.run("extract-tracks")
    answers = [
        lab.run("verify", "--json", "--world-size", "2").exits(1).json,
        lab.run("verify", "--json", "--rank", "0", "--per-class", "1").json,
    ]
    conforms("`verify --json`, schema 1", *answers)
    assert list(answers[0])[:2] == ["schema", "complete"]


def test_plugins_doctor_and_config(lab: Project) -> None:
    conforms("`plugins --json`, schema 1", lab.run("plugins", "--json").exits(0).json)
    conforms("`doctor --json`, schema 1", lab.run("doctor", "--json").json)
    conforms("`config --json`, schema 1", lab.run("config", "--json").exits(0).json)


def test_clean(lab: Project) -> None:
    lab.run("fetch-meta", str(lab.write_metadata())).exits(0)
    for _ in range(2):
        lab.run("extract-tracks")
    answers = [lab.run("clean", *more, "--json").json for more in (("--dry-run",), ())]
    conforms("`clean --json`, schema 1", *answers)


def test_every_json_output_has_a_section_and_a_version(lab: Project) -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    outputs = {
        name
        for name, command in commands.items()
        if any("--json" in getattr(option, "opts", ()) for option in command.params)
    }
    told = {heading.split()[0].strip("`") for heading in SECTIONS if "--json`" in heading}
    assert told == outputs
    for heading, keys in SECTIONS.items():
        if "--json`" in heading:
            assert keys["schema"] == "integer"
            assert heading.endswith(", schema 1")
    for words in (["plugins"], ["doctor"], ["config"], ["fetch-meta", "--list"]):
        assert lab.run(*words, "--json").json["schema"] == 1


def fields(kind: type[msgspec.Struct]) -> dict[str, bool]:
    """Field -> whether it is always written."""
    omitted = kind.__struct_config__.omit_defaults
    found = {f.encode_name: f.required or not omitted for f in msgspec.structs.fields(kind)}
    tag = kind.__struct_config__.tag_field
    return found | ({tag: True} if tag else {})


def same_fields(heading: str, kind: type[msgspec.Struct]) -> None:
    told = {k: v for k, v in SECTIONS[heading].items() if "." not in k and "[" not in k}
    assert {key: "not always" not in value for key, value in told.items()} == fields(kind)


def test_the_ledger(lab: Project) -> None:
    from trackverse_cli.ledger import EndEntry

    kinds = {
        "run": RunEntry, "video": VideoEntry, "clips": ClipsEntry, "track": TrackEntry,
        "end": EndEntry,
    }  # fmt: skip
    for name, kind in kinds.items():
        same_fields(f"Ledger line `{name}`", kind)
    assert DOCUMENT.read_text().count(f"\n## Ledger, schema {LEDGER_VERSION}\n") == 1
    lab.run("fetch-meta", str(lab.write_metadata())).exits(0)
    lab.run("extract-tracks")
    with Ledger(lab.layout, "download-videos", 0, 1, "Tiny") as ledger:
        ledger.video(
            VIDEO, "present", bytes=1, width=2, height=3, duration_seconds=4.5, codec="h264",
            format_id="22", checksum="a", source_size=(1280, 720),
        )  # fmt: skip
        ledger.video(GONE, "failed", reason="permanent", message="gone")
    lines = lab.ledger()
    for name in kinds:
        conforms(f"Ledger line `{name}`", *(line for line in lines if line["kind"] == name))
    assert {line["kind"] for line in lines} == set(kinds)
    assert read_ledger(lab.layout).torn == []


BOXES = (("float or double", "float"), ("float or double", "double"))


def test_the_index(lab: Project) -> None:
    lab.run("fetch-meta", str(lab.write_metadata())).exits(0)
    folder = lab.layout.index("Tiny")
    about = json.loads((folder / MANIFEST_NAME).read_text())
    same_fields("Index file `index.json`", IndexManifest)
    conforms("Index file `index.json`", about)
    tables = {h.split("`")[1]: t for h, t in SECTIONS.items() if h.startswith("Index table")}
    assert tables.keys() == about["files"].keys()
    for name, told in tables.items():
        found = parquet.read_schema(folder / about["files"][name])
        as_told = [{c: kind.replace(*which) for c, kind in told.items()} for which in BOXES]
        assert {field.name: _type(field.type) for field in found} in as_told
        assert [field.name for field in found] == list(told)
        if name == "tracks":
            for half, expected in zip((True, False), as_told, strict=True):
                schema = index_schema.track_schema(half=half)
                assert {f.name: _type(f.type) for f in schema}.items() <= expected.items()
    version = index_schema.SCHEMA_VERSION
    assert DOCUMENT.read_text().count(f"\n## Index, schema {version}\n") == 1
    assert about["schema"] == version


def _type(kind: Any) -> str:
    text = str(kind)
    return f"list of {kind.value_type}" if text.startswith("list") else text


def test_the_manifest(lab: Project) -> None:
    kinds = {
        "manifest": manifest.Head, "clip": manifest.Held, "lost": manifest.Lost,
        "end": manifest.End,
    }  # fmt: skip
    for name, kind in kinds.items():
        same_fields(f"Manifest line `{name}`", kind)
    version = manifest.SCHEMA_VERSION
    assert DOCUMENT.read_text().count(f"\n## Manifest, schema {version}\n") == 1
    lab.run("fetch-meta", str(lab.write_metadata())).exits(0)
    lab.run("extract-tracks")
    lab.run("verify", "--manifest", "m", "--classes", "disc").exits(1)
    lines = [json.loads(line) for line in Path("m").read_text().splitlines()]
    for name in kinds:
        conforms(f"Manifest line `{name}`", *(line for line in lines if line["kind"] == name))


def test_the_document_is_read_whole() -> None:
    assert len(SECTIONS) == 29
    with pytest.raises(AssertionError, match="not documented"):
        conforms("Ledger line `end`", {"kind": "end", "time": 1, "more": 2})
    with pytest.raises(AssertionError, match="is no number"):
        conforms("Ledger line `end`", {"kind": "end", "time": True})
    with pytest.raises(AssertionError, match="is not there"):
        conforms("Ledger line `end`", {"kind": "end"})
