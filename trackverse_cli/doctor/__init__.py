"""Is this machine ready: each check says what it found, and what to do if it is not enough.

`tools` looks at yt-dlp and what it runs, `cookies` and `line` at how the host is reached,
`storage` at the dataset folder, `online` asks for one video. Only `online` uses the network.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from trackverse_cli.clock import Clock, SystemClock
from trackverse_cli.doctor.cookies import check_cookies
from trackverse_cli.doctor.finding import Finding, State
from trackverse_cli.doctor.line import check_proxies
from trackverse_cli.doctor.online import check_online, probe_online
from trackverse_cli.doctor.storage import check_dataset
from trackverse_cli.doctor.tools import check_downloader, check_javascript, check_solver
from trackverse_cli.errors import TrackverseError
from trackverse_cli.interfaces import DecoderPlugin
from trackverse_cli.plugins import find_plugins, plugin_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trackverse_cli.config import Config

__all__ = ["Finding", "State", "examine", "probe_online"]


def examine(
    config: Config,
    online: bool = False,
    video_id: str | None = None,
    clock: Clock | None = None,
) -> list[Finding]:
    """Return the findings of every check, in the order in which a run would need them.

    Args:
        config: the configuration in force.
        online: whether to connect to the proxies and ask the host for one video.
        video_id: which one; None for the first of the catalogue.
        clock: what to take the date from.
    """
    clock = clock or SystemClock()
    download = config.settings.download
    return [
        Finding("Python", "ok", f"{sys.version.split()[0]} at {sys.executable}"),
        check_downloader(clock.time()),
        check_solver(download),
        check_javascript(download),
        _encoder(config),
        *_plugins(config),
        *check_dataset(config, clock),
        *check_cookies(download.cookies, clock.time()),
        *check_proxies(download, online),
        *(check_online(config, video_id) if online else ()),
    ]


def _encoder(config: Config) -> Finding:
    import av

    from trackverse_cli.encoders import problem_of_encoder

    encode = config.settings.encode
    if problem := problem_of_encoder(encode):
        return Finding(
            "encoder", "missing", f"{encode.codec}: {problem}; change [encode] codec or preset"
        )
    version = ".".join(str(n) for n in av.ffmpeg_version_info.split("."))
    return Finding("encoder", "ok", f"{encode.codec} of FFmpeg {version}")


def _plugins(config: Config) -> Iterator[Finding]:
    chosen = {
        ("decoder", config.settings.extract.decoder),
        ("executor", config.settings.submit.executor),
    }
    for found in find_plugins():
        name = f"{found.kind or 'plugin'} {found.name}"
        if found.problem is None:
            yield Finding(name, "ok", found.summary)
            if isinstance(found.plugin, DecoderPlugin):
                is_chosen = (found.kind, found.name) in chosen
                yield from _abilities(config, found.plugin, is_chosen)
        elif (found.kind, found.name) in chosen:
            yield Finding(name, "missing", found.problem)
        else:
            yield Finding(name, "warning", found.problem)
    known = {(found.kind, found.name) for found in find_plugins()}
    for kind, wanted in sorted(chosen - known):
        yield Finding(f"{kind} {wanted}", "missing", "chosen in the configuration, not installed")


def _abilities(config: Config, plugin: DecoderPlugin, is_chosen: bool) -> Iterator[Finding]:
    """Tell what a decoder can do here; what one that nobody chose lacks is not told."""
    try:
        settings = plugin_settings(config, "decoder", plugin.name, plugin.settings)
        for one in plugin.examine(settings):
            if is_chosen or not one.lacks:
                yield Finding(plugin.name, "warning" if one.lacks else "ok", str(one.message))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a stranger may raise anything at all
        if is_chosen:
            own = isinstance(error, TrackverseError)
            told = str(error) if own else f"cannot be examined: {type(error).__name__}: {error}"
            yield Finding(plugin.name, "missing" if own else "warning", told)
