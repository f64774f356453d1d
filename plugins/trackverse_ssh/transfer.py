"""Files to a host with a dataset folder of its own, and results back from it."""

from __future__ import annotations

import shlex
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

from trackverse_cli.errors import LacksError
from trackverse_ssh.protocol import UnreachableError
from trackverse_ssh.remote.parcels import Listing, checked, listing, newer, pack, target_of, unpack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trackverse_cli.interfaces import Job
    from trackverse_ssh.line import Line
    from trackverse_ssh.places import Place

_NEEDS = ("trackverse.toml", "index", "ledger", "state")
_NOT_STATE = ("attempts", "done", "leases", "pace", "runs")
_FILES_AT_ONCE = 1000
"""So many files travel with one rsync; what has come stays if the next one fails."""


def equip(line: Line, place: Place, job: Job) -> None:
    """Bring to a host's own root what its ranks need and it does not have yet.

    Raises:
        LacksError: it cannot be brought.
    """
    _send_outside(line, place)
    if job.root is None:
        return
    here = {n: facts for n, facts in listing(job.root, _NEEDS).items() if not _stays(n)}
    names = newer(here, _listed(line, place, _NEEDS))
    if names:
        _send(line, place, job.root, names, place.root)


def _stays(name: str) -> bool:
    """Whether a file of `state/` is about this machine's runs, and none of the host's concern."""
    parts = name.split("/")
    return parts[0] == "state" and (parts[1] in _NOT_STATE or parts[1].startswith("verify-"))


def _send_outside(line: Line, place: Place) -> None:
    """Bring the files outside the root that the command names."""
    if not place.moves:
        return
    with tempfile.TemporaryDirectory() as text:
        staged = Path(text)
        for source, target in place.moves:
            shutil.copy2(source, staged / Path(target).name)
        names = [Path(target).name for _, target in place.moves]
        _send(line, place, staged, names, place.folder)


def _send(line: Line, place: Place, root: Path, names: Sequence[str], there: str) -> None:
    def write(stream: IO[bytes]) -> None:
        pack(root, names, stream)

    line.send(place.door, {"do": "unpack", "root": there, "names": list(names)}, write)


def _listed(line: Line, place: Place, tops: Sequence[str]) -> Listing:
    answer = line.call(place.door, {"do": "list", "root": place.root, "tops": list(tops)})
    return {name: (int(size), int(when)) for name, (size, when) in answer["files"].items()}


def fetch(line: Line, place: Place, root: Path, how: str, videos: bool) -> int:
    """Bring a host's results into our root, those that are not here yet; return how many files.

    Args:
        line: the calls.
        place: a host with a root of its own.
        root: our dataset folder.
        how: `auto`, `rsync` or `tar`.
        videos: whether to bring source videos too.

    Raises:
        LacksError: it cannot be reached, or sent what is no result; what came before stays.
    """
    tops = ("tracks_mp4", "ledger", *(("videos_mp4",) if videos else ()))
    there = _listed(line, place, tops)
    try:
        for name in there:
            if checked(name).split("/")[0] not in tops:
                raise ValueError(f"the name {name!a} is none of a result")
        names = newer(there, listing(root, tops))
        for name in names:
            target_of(root, name)
        by_rsync = how == "rsync" or (how == "auto" and place.rsync and shutil.which("rsync"))
        if by_rsync:
            _by_rsync(line, place, root, names)
        else:
            _by_tar(line, place, root, names)
    except UnreachableError:
        raise
    except (ValueError, EOFError, tarfile.TarError, OSError) as error:
        raise LacksError(f"cannot bring the results of {place.name}: {error}") from error
    return len(names)


def _by_tar(line: Line, place: Place, root: Path, names: Sequence[str]) -> None:
    if not names:
        return
    request = {"do": "pack", "root": place.root, "names": list(names)}
    with line.receive(place.door, request) as stream:
        unpack(stream, root, frozenset(names))


def _by_rsync(line: Line, place: Place, root: Path, names: Sequence[str]) -> None:
    """Let rsync write each file beside its place and rename it when it is whole."""
    for top in sorted({name.split("/")[0] for name in names}):
        (root / top).mkdir(parents=True, exist_ok=True)
        chosen = [name[len(top) + 1 :] for name in names if name.startswith(f"{top}/")]
        for begin in range(0, len(chosen), _FILES_AT_ONCE):
            words = [
                "rsync", "-t", "--protect-args", "--from0", "--files-from=-",
                f"--rsh={_rsh(line.command)}", "--",
                f"{place.name}:{place.root}/{top}/", f"{root / top}/",
            ]  # fmt: skip
            part = "\0".join(chosen[begin : begin + _FILES_AT_ONCE])
            _run_rsync(line, words, part.encode(errors="surrogateescape"), place)


def _run_rsync(line: Line, words: list[str], names: bytes, place: Place) -> None:
    try:
        code, said = line.run(words, names)
    except OSError as error:
        raise LacksError(
            f"cannot run rsync: {error.strerror}; set [executor.ssh] bring = 'tar'"
        ) from error
    if code != 0:
        raise LacksError(f"cannot bring the results of {place.name} by rsync: {said}")


def _rsh(words: Sequence[str]) -> str:
    """Return words as rsync splits them: at spaces, but for what stands between quotes."""
    parts = []
    for word in words:
        quoted = "'" + word.replace("'", "''") + "'"
        parts.append(quoted if shlex.quote(word) != word else word)
    return " ".join(parts)
