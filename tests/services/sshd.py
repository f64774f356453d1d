"""Three real sshd hosts on this machine, started and ended by the tests.

    from tests.services.sshd import SSHHosts, ssh_hosts, sshd

    def test_something(sshd: SSHHosts) -> None:
        subprocess.run([*sshd.ssh, "host1", "true"])
        sshd.kill(2)     # the machine is gone: daemon, sessions and what they started
        sshd.start(2)    # it is back
        sshd.drop(1)     # its connections break; what runs there goes on
        sshd.freeze(3)   # it accepts connections and never answers
        sshd.thaw(3)

The fixture `sshd` gives three hosts that are up, `host1` to `host3`, on 127.0.0.11 to 127.0.0.13.
They need openssh's server and client, no systemd and no network. Where these are missing the test
is skipped with the reason, or fails if TRACKVERSE_REQUIRE_SERVICES=1. A process that a host runs
has the variable TV_HOST of a value of its own, by which `kill` finds it.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

HOSTS = ("host1", "host2", "host3")

_SERVER = """\
Port {port}
ListenAddress {address}
HostKey {folder}/host_key
PidFile none
AuthorizedKeysFile {folder}/client_key.pub
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UseDNS no
MaxStartups 100:30:200
MaxSessions 50
PrintMotd no
SetEnv TV_HOST={mark} HOME={folder}/home
"""

_CLIENT = """\
Host {name}
  HostName {address}
  Port {port}
"""

_CLIENT_END = """\
Host nowhere
  HostName 127.0.0.14
  Port {unused_port}
Host *
  KexAlgorithms curve25519-sha256
  IdentityFile "{folder}/client_key"
  IdentitiesOnly yes
  UserKnownHostsFile "{folder}/known_hosts"
  StrictHostKeyChecking accept-new
  LogLevel ERROR
"""


@dataclass
class SSHHosts:
    """Three sshd, each a child of this process.

    Attributes:
        folder: keys, configurations and logs.
        ssh: the words of a client that knows `host1`, `host2`, `host3` and `nowhere`, a host
            that nothing answers for.
    """

    folder: Path
    ports: list[int] = field(default_factory=list)
    _mark: str = field(default_factory=lambda: secrets.token_hex(8))
    _daemons: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        return self.folder / "client.conf"

    @property
    def ssh(self) -> list[str]:
        return ["ssh", "-F", str(self.config)]

    def __enter__(self) -> Self:
        self.ports = _free_ports()
        for name in ("host_key", "client_key"):
            words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name)]
            subprocess.run(words, check=True)
        (self.folder / "home").mkdir()  # what the user's shell does at a login is no part of it
        client = ""
        for k in (1, 2, 3):
            known = {"port": self.ports[k], "address": f"127.0.0.1{k}", "name": f"host{k}"}
            client += _CLIENT.format(**known)
            (self.folder / f"host{k}.conf").write_text(
                _SERVER.format(folder=self.folder, mark=self.mark(k), **known)
            )
        end = _CLIENT_END.format(folder=self.folder, unused_port=self.ports[0])
        self.config.write_text(client + end)
        for k in (1, 2, 3):
            self.start(k)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for k in (1, 2, 3):
            self.kill(k)

    def mark(self, k: int) -> str:
        """The value of TV_HOST in every process that came by host k."""
        return f"{self._mark}-host{k}"

    def up(self, k: int) -> bool:
        """Whether the daemon of host k runs."""
        return k in self._daemons and self._daemons[k].poll() is None

    def start(self, k: int) -> None:
        """Start host k unless it is up; return when it answers."""
        if self.up(k):
            return
        # Sessions of root need this folder, which systemd makes elsewhere.
        Path("/run/sshd").mkdir(exist_ok=True)
        config, log = self.folder / f"host{k}.conf", self.folder / f"host{k}.log"
        self._daemons[k] = subprocess.Popen(
            [str(shutil.which("sshd", path=_path())), "-D", "-f", str(config), "-E", str(log)],
            stdin=subprocess.DEVNULL,
            preexec_fn=_dies_with_parent(),
        )
        deadline = time.monotonic() + 20
        while True:
            with suppress(OSError), socket.create_connection((f"127.0.0.1{k}", self.ports[k]), 2):
                return
            assert self.up(k), log.read_text()
            assert time.monotonic() < deadline, f"host{k} does not answer: {log.read_text()}"
            time.sleep(0.02)

    def stop(self, k: int) -> None:
        """End the daemon of host k: no new connections; open ones and ranks go on."""
        daemon = self._daemons.pop(k, None)
        if daemon is not None:
            daemon.kill()
            daemon.wait()

    def restart(self, k: int) -> None:
        """End the daemon of host k and its connections, and start it again; ranks go on."""
        self.drop(k)
        self.stop(k)
        self.start(k)

    def drop(self, k: int) -> int:
        """Break the open connections of host k, as a network does; return how many."""
        found = self.sessions(k)
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(found)

    def kill(self, k: int) -> None:
        """Take host k away with all that runs there, as a power cut does."""
        self.thaw(k)
        self.drop(k)
        self.stop(k)
        for pid in self.processes(k):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def freeze(self, k: int) -> None:
        """Let host k hang: connections are accepted by its kernel and never answered."""
        for pid in [self._daemons[k].pid, *self.sessions(k)]:
            with suppress(ProcessLookupError):  # a session may end meanwhile
                os.kill(pid, signal.SIGSTOP)

    def thaw(self, k: int) -> None:
        """Let host k go on after `freeze`."""
        if self.up(k):
            for pid in [self._daemons[k].pid, *self.sessions(k)]:
                with suppress(ProcessLookupError):  # a session may end meanwhile
                    os.kill(pid, signal.SIGCONT)

    def sessions(self, k: int) -> list[int]:
        """The processes of the open connections of host k."""
        if not self.up(k):
            return []
        pid = self._daemons[k].pid
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [int(child) for child in text.split()]

    def processes(self, k: int) -> list[int]:
        """The processes that came by host k and still run."""
        wanted, found = f"TV_HOST={self.mark(k)}".encode(), []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                with suppress(OSError):
                    variables = (folder / "environ").read_bytes().split(b"\0")
                    if wanted in variables:
                        found.append(int(folder.name))
        return found


def missing() -> str | None:
    """Say why there can be no hosts here, or None."""
    if sys.platform != "linux":
        return "the sshd hosts need Linux: addresses 127.0.0.11 and on, and /proc"
    for name in ("sshd", "ssh", "ssh-keygen"):
        if shutil.which(name, path=_path()) is None:
            return f"{name} is not installed; install openssh-server and openssh-client"
    if os.geteuid() != 0 and not Path("/run/sshd").is_dir():
        return "/run/sshd is not there and only root can make it"
    return None


def _path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def _free_ports() -> list[int]:
    """A port that nothing answers at, and one for each host."""
    found, held = [], []
    for k in (4, 1, 2, 3):
        one = socket.socket()
        one.bind((f"127.0.0.1{k}", 0))
        found.append(int(one.getsockname()[1]))
        held.append(one)
    for one in held:
        one.close()
    return found


def _dies_with_parent() -> Callable[[], None]:
    """What makes Linux end a daemon whose test run was killed."""
    library = ctypes.CDLL(None)
    return lambda: library.prctl(1, signal.SIGTERM)


def _leave_out(reason: str | None) -> None:
    """Skip a test for a reason, or fail it where none may be skipped."""
    if reason and os.environ.get("TRACKVERSE_REQUIRE_SERVICES") == "1":
        pytest.fail(f"TRACKVERSE_REQUIRE_SERVICES=1, but {reason}")
    if reason:
        pytest.skip(reason)


def need_rsync() -> None:
    """Leave a test out where there is no rsync."""
    _leave_out(None if shutil.which("rsync") else "rsync is not installed")


@pytest.fixture(scope="session")
def ssh_hosts() -> Iterator[SSHHosts]:
    """Hosts for the whole test run of this process; tests want `sshd` instead."""
    _leave_out(missing())
    with tempfile.TemporaryDirectory(prefix="tv-sshd-") as folder, SSHHosts(Path(folder)) as hosts:
        yield hosts


@pytest.fixture
def sshd(ssh_hosts: SSHHosts) -> Iterator[SSHHosts]:
    """Three hosts that are up; what a test leaves running on them is killed."""
    for k in (1, 2, 3):
        ssh_hosts.thaw(k)
        ssh_hosts.start(k)
    yield ssh_hosts
    for k in (1, 2, 3):
        ssh_hosts.thaw(k)
        for pid in ssh_hosts.processes(k):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
