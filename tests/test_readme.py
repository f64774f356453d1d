"""Every command of the README is run here as it stands there."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.services.web import HostileServer
from tests.test_fetch import Web
from tests.videos import make_video

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.project import Project

HOUSE = Path(__file__).parents[1]
README = (HOUSE / "README.md").read_text(encoding="utf-8")
ELSEWHERE = {
    "make demo": "test_make_demo_does_the_whole_job",
    "make test": "run by .ci/run; it cannot run within itself",
    "pip install .": "tests/test_stranger.py and .ci/run install the project",
}


def commands() -> list[str]:
    """The lines of the README's shell blocks, without their comments."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    lines = [line.partition("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


@pytest.fixture
def lab(project: Project) -> Iterator[tuple[Project, dict[str, str]]]:
    """A host of videos and a mirror of the hub, as a lab's machine would meet them."""
    web = Web()
    with HostileServer() as server:
        for number in range(3):
            video_id = f"readme_vid{number}"
            source = make_video(project.folder / f"{video_id}.mp4", frames=60)
            server.serve(f"{video_id}.mp4", source)
            project.track(video_id, 0.2, 1.8)
        project.write_metadata()
        web.body = (project.folder / "Tiny.jsonl.gzip").read_bytes()
        web.etag = f'"{hashlib.sha256(web.body).hexdigest()}"'
        env = {
            **os.environ,
            "HF_ENDPOINT": web.base,
            "HF_HOME": str(project.folder / "hf"),
            "HF_HUB_DISABLE_XET": "1",
            "TRACKVERSE_DB": str(project.root),
            "TRACKVERSE_DOWNLOAD__URL_TEMPLATE": server.url_template,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        yield project, env
    web.server.shutdown()
    web.server.server_close()


def test_the_five_minutes_for_a_lab(lab: tuple[Project, dict[str, str]]) -> None:
    project, env = lab
    ran = 0
    for line in commands():
        if line in ELSEWHERE:
            continue
        done = subprocess.run(
            shlex.split(line),
            env=env,
            cwd=project.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        ran += 1
    assert ran >= 8
    assert len(list(project.layout.tracks.rglob("*.mp4"))) == 3


def test_make_demo_does_the_whole_job(tmp_path: Path) -> None:
    ready = tmp_path / "venv" / "ready-demo"
    ready.parent.mkdir()
    ready.touch()
    words = ["make", "-C", str(HOUSE), "demo", f"VENV={ready.parent}", f"ROOT={tmp_path / 'demo'}"]
    words.append(f"BIN={Path(sys.executable).parent}")
    mine = tmp_path / "my dataset"
    env = {**os.environ, "TRACKVERSE_DB": str(mine), "TRACKVERSE_ENCODE__CRF": "51"}
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not mine.exists()
    assert "complete: every clip is there and sound" in done.stdout
    clips = sorted((tmp_path / "demo" / "tracks_mp4").rglob("*.mp4"))
    assert len(clips) == 6
    again = subprocess.run(words, capture_output=True, text=True, check=False)
    assert again.returncode == 0
    assert "unchanged" in again.stdout


def test_the_demo_leaves_other_folders_alone(tmp_path: Path, project: Project) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("mine")
    project.run("demo", "--root", str(tmp_path / "thesis")).exits(2).says("no demo")
    assert [p.name for p in (tmp_path / "thesis").iterdir()] == ["chapter1.txt"]


def test_links_of_the_readme_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!https?://)([^)]+)\)", README)
    assert links
    for link in links:
        assert (HOUSE / link).exists(), link
