"""A trackverse.toml and the environment: settings that are as the model says, or one sentence."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from trackverse_cli.config import load_config
from trackverse_cli.config_text import example_text, values_with_origins
from trackverse_cli.errors import ConfigError
from trackverse_cli.jobs.frozen import freeze

if TYPE_CHECKING:
    from pathlib import Path

BETWEEN = b"\n#env\n"
"""What comes after it are lines of NAME=VALUE for the environment."""

_TABLES = b"""\
[dataset]
root = "/data"
metadata = ["A", "B"]
[download]
proxy = "http://user:word@host:1"
proxies = ["socks5://h:1"]
cookies = "browser:firefox"
max_height = 480
retry = ["permanent"]
[download.yt_dlp]
http_headers = {A = "b"}
[pipeline]
disk_budget = "500GB"
[pace]
egress = "one"
[submit]
world_size = 4
[submit.extract-tracks]
follow = true
[select.few]
classes = ["disc"]
per_class = 3
videos = "~nobody/list"
[executor.local]
slots = 2
"""


def seeds() -> list[bytes]:
    """Return files and environments, good and nearly good."""
    lines = _TABLES.splitlines(keepends=True)
    uncommented = example_text().replace("\n#", "\n").encode()
    env = (
        b"TRACKVERSE_DOWNLOAD__YT_DLP={a = 1}\nTRACKVERSE_DB=/x\nTRACKVERSE_SUBMIT__WORLD_SIZE=2\n"
        b"TRACKVERSE_SUBMIT__EXTRACT_TRACKS__WORLD_SIZE=3\nTRACKVERSE___=1\nTRACKVERSE_A__B__C=\n"
        b"TRACKVERSE_DATASET__METADATA=[1]\nTRACKVERSE_EXECUTOR__LOCAL__SLOTS=07\n"
    )
    return [
        _TABLES, _TABLES + BETWEEN + env, uncommented, BETWEEN + env, *lines,
        b"dataset = 1\n", b"[select]\nfew = 1\n", b"[executor]\nlocal = 3\n", b"[dataset.root]\n",
        b'[select."a.b"]\n', b'"" = 1\n[""]\n', b"a.b.c.d = 1\n", b"[download]\nyt_dlp = 1\n",
        b"[pace]\nvideos_per_hour = nan\njitter = inf\n", b"[submit]\nworld_size = 1e400\n",
        b"x = " + b"[" * 200, b"\xef\xbb\xbf[pace]\n", b"[pipeline]\nmin_free = '1e400GB'\n",
    ]  # fmt: skip


def check(data: bytes, folder: Path) -> None:
    """Load `data`, print what is in force, and freeze it as a job would."""
    content, _, env = data.partition(BETWEEN)
    file = folder / "trackverse.toml"
    file.write_bytes(content)
    pairs = (line.partition("=") for line in env.decode("utf-8", "replace").split("\n"))
    environ = {name: value.replace("\0", "") for name, _, value in pairs if name}
    environ.pop("TRACKVERSE_SECRETS_FROM", None)
    try:
        config = load_config(file, {}, environ)
    except ConfigError as error:
        said = str(error)
        assert said, "an error says something"
        assert len(said) < 4000, "an error is a sentence"
        return
    for key, value, origin in values_with_origins(config):
        assert key
        assert origin
        json.dumps(value)
    freeze(config, folder / "job")
    again = load_config(folder / "job" / "trackverse.toml", {}, {})
    kept, now = again.settings.model_dump(), config.settings.model_dump()
    for section in ("extract", "encode", "pipeline", "pace", "submit", "select"):
        assert repr(kept[section]) == repr(now[section]), f"a job keeps [{section}]"
