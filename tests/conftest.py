"""Fixtures that read like a sentence."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.project import Project

if TYPE_CHECKING:
    from pathlib import Path


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
