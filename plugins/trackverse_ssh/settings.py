"""What `[executor.ssh]` holds: the hosts, and how they are reached."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@%-]{0,252}", re.ASCII)


def check_host(name: str) -> str:
    """Return a host's name if it can be nothing else, no option of ssh and no path among them.

    Raises:
        ValueError: it is not of `A-Za-z0-9_.@%-`, begins with another sign, or holds `..`.
    """
    if not _HOST.fullmatch(name) or ".." in name:
        raise ValueError(
            f"{name!a} is no host name: it may hold A-Z, a-z, 0-9, _ . @ % and -, and begins "
            "with a letter, a digit or _; name an address of another form in ~/.ssh/config"
        )
    return name


def _plain(word: str) -> str:
    if word.startswith("-") or any(ord(c) < 32 or ord(c) == 127 for c in word):
        raise ValueError(f"{word!a} begins with '-' or holds a control character")
    return word


def _absolute(path: str) -> str:
    parts = PurePosixPath(_plain(path)).parts
    if path and (not path.startswith("/") or ".." in parts or len(parts) < 2):
        raise ValueError(f"{path!a} should be an absolute path below / without '..'")
    return path.rstrip("/")


Python = Annotated[str, AfterValidator(_plain)]


class Host(BaseModel):
    """A machine that runs ranks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, AfterValidator(check_host)] = Field(
        description="A host name, or an alias of ~/.ssh/config; it means one machine."
    )
    slots: int | None = Field(None, ge=1, le=1024, description="Ranks at a time.")
    root: Annotated[str, AfterValidator(_absolute)] = Field(
        "", description="A dataset folder of its own; empty: it sees the submitter's."
    )
    python: Python = Field("", description="Its interpreter; empty: the one of [executor.ssh].")
    setup: tuple[str, ...] = Field((), description="More lines of sh to run before a rank.")


def _host(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _hosts(value: Any) -> Any:
    if isinstance(value, str):
        value = [word for word in re.split(r"[\s,]+", value) if word]
    return [_host(one) for one in value] if isinstance(value, (list, tuple)) else value


def _each_once(hosts: tuple[Host, ...]) -> tuple[Host, ...]:
    names = [host.name for host in hosts]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{twice[0]} is there twice; give it more slots instead")
    return hosts


Hosts = Annotated[tuple[Host, ...], BeforeValidator(_hosts), AfterValidator(_each_once)]


class SSHSettings(BaseModel):
    """How the executor `ssh` starts ranks on other machines."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hosts: Hosts = Field(
        (), description="Host names, or tables {name, slots, root, python, setup}."
    )
    slots: int = Field(1, ge=1, le=1024, description="Ranks at a time on a host, unless it says.")
    python: Python = Field("", description="The hosts' interpreter; empty: the path of this one.")
    setup: tuple[str, ...] = Field(
        (), description="Lines of sh to run before a rank, such as 'module load ffmpeg'."
    )
    ssh: tuple[str, ...] = Field(
        ("ssh",), min_length=1, description="The command ssh, with options of your own."
    )
    connect_timeout_seconds: int = Field(
        10, ge=1, description="How long a host may take to answer."
    )
    call_timeout_seconds: float = Field(
        120.0, gt=0, description="How long a host may take over one request."
    )
    connects_at_once: int = Field(
        8, ge=1, le=100, description="Connections at a time; sshd itself refuses more than 10."
    )
    poll_seconds: float = Field(
        5.0, ge=0, description="At least so long between two looks at the hosts."
    )
    dead_after_seconds: float = Field(
        300.0, ge=0, description="A host out of reach for so long loses its ranks to the others."
    )
    bring: Literal["auto", "rsync", "tar"] = Field(
        "auto", description="How results come from a root of a host's own: rsync if both have it."
    )
    bring_videos: bool = Field(False, description="Bring source videos from such a root as well.")
