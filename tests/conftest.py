"""Fixtures that read like a sentence."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.project import Project
from tests.services.web import HostileServer
from tests.videos import make_video

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SERVED_IDS = ("aaaaaaaaaa1", "bbbbbbbbbb2")
SERVED_SIZE = (160, 90)


@pytest.fixture(autouse=True)
def _own_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the user's configuration, variables and folder out of every test."""
    for name in [name for name in os.environ if name.startswith("TRACKVERSE_")]:
        if not name.startswith("TRACKVERSE_REQUIRE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "no-config"))
    monkeypatch.setenv("YTDLP_NO_PLUGINS", "1")
    # What one test calls a secret is a word of another one's sentence.
    monkeypatch.setattr("trackverse_cli.redaction._known", set())
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty dataset folder and the command line on it."""
    return Project(tmp_path)


@pytest.fixture
def served(project: Project, tmp_path: Path) -> Iterator[Project]:
    """Two videos with a clip each, complete, and their server."""
    with HostileServer() as server:
        for video_id in SERVED_IDS:
            path = tmp_path / "web" / f"{video_id}.mp4"
            server.serve(path.name, make_video(path, size=SERVED_SIZE, frames=30))
            project.track(video_id, 0.1, 0.7, size=SERVED_SIZE)
        project.env["TRACKVERSE_DOWNLOAD__URL_TEMPLATE"] = server.url_template
        project.fetch()
        project.run("download-tracks").exits(0)
        yield project
