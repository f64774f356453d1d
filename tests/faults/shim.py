"""The counting library of `shim.c`: built, loaded into this process, told what to break."""

from __future__ import annotations

import ctypes
import mmap
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("shim.c")

COUNT, KILL_BEFORE, KILL_AFTER, KILL_HALF, FAIL, FAIL_HALF = range(6)

VARIABLE = "TV_FAULTS"
"""Names the control file to processes that are started, not forked."""

LOADED = "TV_FAULTS_LIBRARY"
"""Names the library to the process that has it loaded."""

_PATH_BYTES = 1024


class Control(ctypes.Structure):
    """What the library is to do, and what it counted; the same as `struct control`."""

    _fields_ = (
        ("at", ctypes.c_int64),
        ("count", ctypes.c_int64),
        ("kind", ctypes.c_int32),
        ("error", ctypes.c_int32),
        ("sticky", ctypes.c_int32),
        ("fired", ctypes.c_int32),
        ("group", ctypes.c_int32),
        ("unused", ctypes.c_int32),
        ("below", ctypes.c_char * _PATH_BYTES),
        ("journal", ctypes.c_char * _PATH_BYTES),
        ("backup", ctypes.c_char * _PATH_BYTES),
    )


@dataclass(frozen=True, slots=True)
class Call:
    """One call that changed a file, as the library listed it.

    Attributes:
        number: from 1, over all processes of the command.
        op: c create, w write, r rename, s fsync, l link, u unlink, m mkdir, t truncate.
        inode: of the file; 0 where it is gone.
        size: bytes after the call; -1 where it is gone.
        path: of the file, relative to the box.
        other: the old name of a renamed or linked file, likewise.
    """

    number: int
    op: str
    inode: int
    size: int
    path: str
    other: str


def has_compiler() -> bool:
    """Say whether the library can be built here."""
    return shutil.which("cc") is not None or shutil.which("gcc") is not None


def build(folder: Path) -> Path:
    """Compile the library into `folder` and return it."""
    library = folder / "faults.so"
    compiler = shutil.which("cc") or shutil.which("gcc") or "cc"
    words = [compiler, "-O2", "-Wall", "-shared", "-fPIC", "-o", str(library), str(SOURCE)]
    subprocess.run(words, check=True)
    return library


class Breaker:
    """One control file; armed in a child, read by its parent.

    Args:
        folder: where the control file and the journal go, outside the box.
        box: the folder whose calls count.
    """

    def __init__(self, folder: Path, box: Path) -> None:
        self.path = folder / "control"
        self.box = box
        self._journal = folder / "journal"
        self._backup = folder / "replaced"
        self.path.write_bytes(bytes(ctypes.sizeof(Control)))
        with self.path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), ctypes.sizeof(Control))
        self.control = Control.from_buffer(self._memory)

    @property
    def backup(self) -> Path:
        """Where the files that a rename replaced are kept, by the number of the call."""
        return self._backup

    def set(
        self,
        kind: int,
        at: int = 0,
        *,
        error: int = 0,
        sticky: int = 0,
        group: bool = False,
        keeps: bool = False,
    ) -> None:
        """Say what to break next, and begin a new count."""
        self._journal.write_bytes(b"")
        shutil.rmtree(self._backup, ignore_errors=True)
        self._backup.mkdir()
        control = self.control
        control.at, control.count, control.kind = at, 0, kind
        control.error, control.sticky, control.group = error, sticky, int(group)
        control.fired = 0
        control.below = os.fsencode(self.box)
        control.journal = os.fsencode(self._journal)
        control.backup = os.fsencode(self._backup) if keeps else b""

    def arm(self) -> None:
        """Begin to count in this process; in those that it starts as well."""
        library = ctypes.CDLL(os.environ[LOADED])
        os.environ[VARIABLE] = str(self.path)
        library.faults_arm(os.fsencode(self.path))

    @property
    def fired(self) -> bool:
        """Whether the fault has happened."""
        return bool(self.control.fired)

    def calls(self) -> list[Call]:
        """Return the calls that were done, in their order."""
        found = []
        box = f"{self.box}/"
        for line in self._journal.read_text(errors="surrogateescape").splitlines():
            number, op, inode, size, path, other = line.split("\t")
            found.append(
                Call(
                    int(number), op, int(inode), int(size), path.removeprefix(box),
                    other.removeprefix(box),
                )
            )  # fmt: skip
        return sorted(found, key=lambda call: call.number)
