"""yt-dlp, the JavaScript runtime that it runs YouTube's player with, and its solver scripts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib.metadata import PackageNotFoundError, requires, version
from typing import TYPE_CHECKING, Any, Final

from trackverse_cli.doctor.finding import Finding, State
from trackverse_cli.download.options import is_youtube

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trackverse_cli.settings import DownloadSettings

OLD_DAYS: Final = 60
"""YouTube's clients break within weeks; a version this old has usually lost one."""

RUNTIME_SECONDS: Final = 30.0
UPGRADE: Final = "pip install -U 'yt-dlp[default]'"


@dataclass(frozen=True, slots=True)
class Runtime:
    """A JavaScript runtime that yt-dlp can use.

    Attributes:
        program: its file's name.
        option: what makes it say its version.
        pattern: finds the version in that.
        least: the oldest version that yt-dlp takes.
    """

    program: str
    option: str
    pattern: str
    least: tuple[int, ...]


RUNTIMES: Final = {
    "deno": Runtime("deno", "--version", r"(?m)^deno (\S+)", (2, 3)),
    "node": Runtime("node", "--version", r"(?m)^v(\S+)", (22,)),
    "bun": Runtime("bun", "--version", r"(?m)^(\d\S+)", (1, 2, 11)),
    "quickjs": Runtime("qjs", "--help", r"(?m)^QuickJS(?:-ng)?\s+version\s+(\S+)", (2023, 12, 9)),
}


def check_downloader(now: float) -> Finding:
    """Say how old yt-dlp is; `now` in seconds since 1970."""
    try:
        found = version("yt-dlp")
    except PackageNotFoundError:
        return Finding("yt-dlp", "missing", f"yt-dlp is not installed; {UPGRADE}")
    made = version_date(found)
    if made is None:
        return Finding("yt-dlp", "ok", f"{found}; its date cannot be read, so keep it new yourself")
    days = (datetime.fromtimestamp(now, UTC).date() - made).days
    if days > OLD_DAYS:
        told = f"{found} is {days} days old, and YouTube changes within weeks; {UPGRADE}"
        return Finding("yt-dlp", "warning", told)
    return Finding("yt-dlp", "ok", f"{found}, {max(0, days)} days old")


def version_date(text: str) -> date | None:
    """Return the day that a version such as `2026.8.19` or `2026.08.19.123` names, or None."""
    numbers = re.match(r"(\d{4})\.(\d{1,2})\.(\d{1,2})(?!\d)", text)
    if numbers is None:
        return None
    try:
        return date(*(int(number) for number in numbers.groups()))
    except ValueError:
        return None


def check_solver(settings: DownloadSettings) -> Finding:
    """Say whether the scripts of yt-dlp-ejs are of the version that yt-dlp takes."""
    name, grave = "yt-dlp-ejs", _grave(settings)
    wanted = _wanted_solver()
    try:
        found = version("yt-dlp-ejs")
    except PackageNotFoundError:
        told = f"not installed, and YouTube's player cannot be read without it; {UPGRADE}"
        return Finding(name, grave, told)
    if wanted and _numbers(found)[:2] != _numbers(wanted)[:2]:
        told = f"{found} is not what yt-dlp takes, {wanted}; {UPGRADE}"
        return Finding(name, grave, told)
    return Finding(name, "ok", found)


def _wanted_solver() -> str:
    """Return the version that yt-dlp asks for, "" where it does not say."""
    try:
        told = requires("yt-dlp") or []
    except PackageNotFoundError:
        return ""
    found = (re.match(r"yt-dlp-ejs\s*==\s*([0-9.]+)", one) for one in told)
    return next((match[1] for match in found if match), "")


def check_javascript(settings: DownloadSettings) -> Finding:
    """Say which of the runtimes that yt-dlp is told to use there is, and whether it is new enough.

    yt-dlp uses deno alone unless `[download] yt_dlp.js_runtimes` names others.
    """
    name, grave = "JavaScript", _grave(settings)
    asked = settings.yt_dlp.get("js_runtimes")
    enabled: dict[str, Any] = asked if isinstance(asked, dict) else {"deno": {}}
    problems: list[str] = []
    for one, options in enabled.items():
        if one not in RUNTIMES:
            problems.append(f"{one} is no runtime that is known ({', '.join(RUNTIMES)})")
            continue
        given = options.get("path") if isinstance(options, dict) else None
        found, problem = _look(RUNTIMES[one], str(given) if given else None)
        if not problem:
            return Finding(name, "ok", f"{one} {found}")
        problems.append(problem)
    for one in _usable(set(enabled)):
        problems.append(f"{one} is there: allow it with [download.yt_dlp.js_runtimes.{one}]")
        break
    else:
        problems.append("pip install -U 'deno>=2.3'")
    told = "; ".join(problems)
    return Finding(name, grave, f"most of YouTube's formats will be missing: {told}")


def _grave(settings: DownloadSettings) -> State:
    """Return how bad it is to lack what only YouTube needs."""
    return "missing" if is_youtube(settings.url_template) else "warning"


def _usable(but: set[str]) -> Iterator[str]:
    for name, runtime in RUNTIMES.items():
        if name not in but and not _look(runtime, None)[1]:
            yield name


def _look(runtime: Runtime, given: str | None) -> tuple[str, str]:
    """Return (version, "") of a runtime, or ("", what is wrong with it)."""
    path = _find(runtime.program, given)
    if path is None:
        return "", f"no {runtime.program}" + (f" at {given}" if given else "")
    try:
        done = subprocess.run(
            [path, runtime.option],
            capture_output=True, text=True, timeout=RUNTIME_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError) as error:
        return "", f"{path} does not run ({error})"
    match = re.search(runtime.pattern, done.stdout + done.stderr)
    if match is None:
        return "", f"{path} does not say its version"
    if _numbers(match[1]) < runtime.least:
        least = ".".join(str(number) for number in runtime.least)
        return "", f"{runtime.program} {match[1]} is too old, at least {least} is needed"
    return match[1], ""


def _find(program: str, given: str | None) -> str | None:
    """Return the file that yt-dlp would run: the given one, this environment's, or PATH's."""
    if given:
        inside = os.path.join(given, program)  # noqa: PTH118 - as it is written, links unresolved
        return shutil.which(inside if os.path.isdir(given) else given)  # noqa: PTH112
    return shutil.which(program, path=sysconfig.get_path("scripts")) or shutil.which(program)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text.partition("+")[0]))
