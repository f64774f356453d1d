"""Is this machine ready: each check says what it found, and what to do if it is not enough."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal

from trackverse_cli.errors import TrackverseError
from trackverse_cli.files import require_writable
from trackverse_cli.plugins import find_plugins

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trackverse_cli.config import Config

LEAST_DENO = (2, 3)
LEAST_FREE_BYTES = 5 * 10**9


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: `missing` keeps a run from working, `warning` does not."""

    name: str
    state: Literal["ok", "warning", "missing"]
    message: str


def examine(config: Config) -> list[Finding]:
    """Return the findings of every check, in the order in which a run would need them."""
    return [
        _python(),
        _downloader(),
        _javascript(),
        _encoder(config),
        *_plugins(config),
        *_dataset(config),
        *_cookies(config.settings.download.cookies),
    ]


def _python() -> Finding:
    return Finding("Python", "ok", f"{sys.version.split()[0]} at {sys.executable}")


def _downloader() -> Finding:
    return Finding("yt-dlp", "ok", f"{version('yt-dlp')}; YouTube changes often, so keep it new")


def _javascript() -> Finding:
    """YouTube's player needs a JavaScript runtime; yt-dlp finds the one of this environment."""
    beside = os.path.dirname(sys.executable)  # noqa: PTH120 - the folder itself, links unresolved
    deno = shutil.which("deno", path=beside) or shutil.which("deno")
    if deno is None:
        told = "no deno: most of YouTube's formats will be missing; pip install 'deno>=2.3'"
        return Finding("JavaScript", "missing", told)
    try:
        answer = subprocess.run(
            [deno, "--version"], capture_output=True, text=True, timeout=30, check=True
        ).stdout
        found = answer.split()[1]
        new_enough = tuple(int(part) for part in found.split(".")[:2]) >= LEAST_DENO
    except (OSError, subprocess.SubprocessError, IndexError, ValueError) as error:
        return Finding("JavaScript", "missing", f"{deno} does not run ({error}); reinstall deno")
    if not new_enough:
        told = f"deno {found} is too old for YouTube's player; pip install -U deno"
        return Finding("JavaScript", "missing", told)
    return Finding("JavaScript", "ok", f"deno {found}")


def _encoder(config: Config) -> Finding:
    import av

    name = config.settings.encode.codec
    try:
        context = av.CodecContext.create(name, "w")
        told = f"{name} of FFmpeg {'.'.join(str(n) for n in av.ffmpeg_version_info.split('.'))}"
    except (av.error.FFmpegError, ValueError) as error:
        return Finding("encoder", "missing", f"{name}: {error}; set [encode] codec to another")
    del context
    return Finding("encoder", "ok", told)


def _plugins(config: Config) -> Iterator[Finding]:
    chosen = {
        ("decoder", config.settings.extract.decoder),
        ("executor", config.settings.submit.executor),
    }
    for found in find_plugins():
        name = f"{found.kind or 'plugin'} {found.name}"
        if found.problem is None:
            yield Finding(name, "ok", found.summary)
        elif (found.kind, found.name) in chosen:
            yield Finding(name, "missing", found.problem)
        else:
            yield Finding(name, "warning", found.problem)
    known = {(found.kind, found.name) for found in find_plugins()}
    for kind, wanted in sorted(chosen - known):
        yield Finding(f"{kind} {wanted}", "missing", "chosen in the configuration, not installed")


def _dataset(config: Config) -> Iterator[Finding]:
    try:
        root = config.layout.root
        require_writable(root, "the dataset folder")
    except TrackverseError as error:
        yield Finding("dataset folder", "missing", str(error))
        return
    free = shutil.disk_usage(root).free
    state: Literal["ok", "warning"] = "ok" if free >= LEAST_FREE_BYTES else "warning"
    yield Finding("dataset folder", state, f"{root}: writable, {free / 1e9:,.1f} GB free")


def _cookies(path: Path | None) -> Iterator[Finding]:
    if path is None:
        return
    try:
        mode = path.stat().st_mode
        with path.open("rb"):
            pass
    except OSError as error:
        yield Finding("cookies", "missing", f"{path} cannot be read: {error.strerror}")
        return
    if mode & 0o077:
        yield Finding("cookies", "warning", f"{path} can be read by others; chmod 600 it")
    else:
        yield Finding("cookies", "ok", str(path))
