"""A real Slurm of four nodes on this machine, started and ended by the tests.

    pytest_plugins = ["tests.services.slurm"]

    def test_something(slurm: SlurmCluster) -> None:
        slurm.run("sbatch", "--wrap", "true")

The fixture `slurm` gives a cluster with an empty queue and all nodes up, and has set SLURM_CONF in
`os.environ` for the length of the test, so that plugins and child processes find it. It needs
root, `slurm-wlm` and `munge`, no systemd and no network. Where something is missing the test is
skipped with the reason, or fails if TRACKVERSE_REQUIRE_SERVICES=1.

PYTEST_DONT_REWRITE: test modules import this before pytest does.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

NODES = ("node1", "node2", "node3", "node4")
_ASKING = ("squeue", "sinfo", "sacct")
PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "squeue", "scancel", "scontrol", "sinfo")
ACCOUNTING_PROGRAMS = ("slurmdbd", "mariadbd", "mariadb-install-db")
KILL_WAIT_SECONDS = 5
"""Time between TERM and KILL in these clusters; 30 in most real ones."""

_PR_SET_PDEATHSIG = 1

_DBD_CONF = """\
AuthType=auth/munge
AuthInfo=socket={folder}/munge/sock
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={ports[0]}
SlurmUser={user}
LogFile={folder}/log/slurmdbd.log
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={ports[1]}
StorageUser=root
StorageLoc=tv
"""

_ACCOUNTING = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={ports[0]}
AccountingStoragePass={folder}/munge/sock
AccountingStorageEnforce=associations,limits,qos"""

_CONF = """\
ClusterName=tv
SlurmctldHost=localhost(127.0.0.1)
SlurmUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/sock,cred_expire=5
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.%n.log
MailProg=/bin/true
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=100
GresTypes=gpu
ReturnToService=2
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
MinJobAge=300
KillWait={kill_wait}
SlurmdTimeout=10
InactiveLimit=0
Waittime=0
SchedulerParameters=bf_interval=1,sched_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
{nodes}
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=0
PartitionName=low Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=5
PartitionName=high Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
PartitionName=short Nodes=ALL MaxTime=5 State=UP PriorityTier=1
PartitionName=down Nodes=ALL MaxTime=INFINITE State=DOWN
{extra}
"""


def missing(accounting: bool = False) -> str | None:
    """Return in one sentence why no Slurm can be started here, or None.

    Args:
        accounting: whether it is to have a database as well.
    """
    wanted = dict.fromkeys(PROGRAMS, "slurm-wlm munge")
    if accounting:
        wanted |= dict.fromkeys(ACCOUNTING_PROGRAMS, "slurmdbd mariadb-server")
    gone = [name for name in wanted if shutil.which(name, path=_path()) is None]
    if gone:
        return f"{', '.join(gone)} not found (apt-get install {wanted[gone[0]]})"
    if os.geteuid() != 0:
        return "a Slurm of several nodes on one machine needs root"
    return None


def _path() -> str:
    return os.environ.get("PATH", "") + os.pathsep + "/usr/sbin"


@dataclass
class SlurmCluster:
    """Four nodes of 4 cores, 4000 MB and 2 GPUs each, in a run folder of their own.

    Partitions: `debug` (the default), `low` (5 s of grace before a preemption), `high` (takes
    nodes from both), `short` (at most 5 minutes), `down`.

    Attributes:
        extra: further lines of slurm.conf, such as "MaxArraySize=8"; a key that stands in the
            template is replaced.
        accounting: whether there is a slurmdbd with a database of its own, which knows the account
            `lab` of this user and the QOS `normal`; `sacctmgr` changes what it enforces.
        folder: the run folder; removed by `stop`.
    """

    extra: str = ""
    accounting: bool = False
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="tv-slurm-")))
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _database_port: int = 0

    @property
    def conf(self) -> Path:
        """The slurm.conf: what SLURM_CONF has to say."""
        return self.folder / "slurm.conf"

    @property
    def env(self) -> dict[str, str]:
        """This process's environment with this cluster, and no other, in it."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "SBATCH_"))}
        return {**kept, "PATH": _path(), "SLURM_CONF": str(self.conf)}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Write the configuration, start every daemon and wait until all nodes are idle."""
        try:
            self._lay_out()
            key, sock = self.folder / "munge/key", self.folder / "munge/sock"
            self._daemon(
                "munged", "munged", "-F", f"--key-file={key}", f"--socket={sock}",
                *(f"--{w}-file={self.folder / 'munge' / w}" for w in ("pid", "log", "seed")),
            )  # fmt: skip
            wait_until(sock.exists, 20, "munged has no socket")
            if self.accounting:
                self._start_accounting()
            self.start_controller()
            if self.accounting:
                self._add_account()
            for node in NODES:
                self.start_node(node, wait=False)
            self.wait_idle()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Cancel all jobs, wait for an empty queue, end the daemons and remove the folder."""
        with contextlib.suppress(AssertionError, subprocess.SubprocessError):
            if "slurmctld" in self._running:
                self.cancel_all()
        last = ("slurmctld", "slurmdbd", "mariadbd", "munged")
        for name in sorted(self._running, key=lambda n: last.index(n) if n in last else -1):
            self._end(name, signal.SIGTERM)
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(
        self, *words: str, check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a program against this cluster; with `check` it has to succeed.

        A question that the busy controller leaves unanswered for ten seconds is asked again.
        """
        for _ in range(3 if words[0] in _ASKING else 1):
            done = subprocess.run(
                words, env=self.env, capture_output=True, text=True, check=False, timeout=timeout,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
            if done.returncode == 0 or not check or "timed out" not in done.stderr:
                break
        assert done.returncode == 0 or not check, f"{words}: {done.stdout}{done.stderr}"
        return done

    def submit(self, *words: str) -> str:
        """Run `sbatch --parsable` with the given words; return the job's id."""
        return self.run("sbatch", "--parsable", *words).stdout.strip()

    def states(self, job: str) -> dict[str, str]:
        """Return `12_3` -> `RUNNING` for every task of a job that Slurm still knows."""
        fields = "JobArrayID:|,State:"
        out = self.run("squeue", "-h", "-r", "-t", "all", "-j", job, "-O", fields, check=False)
        pairs = (line.partition("|") for line in out.stdout.splitlines() if "|" in line)
        return {one.strip(): state.strip() for one, _, state in pairs}

    def node_of(self, task: str) -> str:
        """Return the node that a running task is on."""
        return self.run("squeue", "-h", "-j", task, "-o", "%N").stdout.strip()

    def requeue(self, task: str) -> None:
        """Do as an administrator: end the task and queue it again."""
        self.run("scontrol", "requeue", task)

    def preempt(self, node: str, seconds: int = 1) -> str:
        """Submit a job that takes a whole node from lower partitions; return its id."""
        words = ("-p", "high", "-w", node, "--exclusive", "-o", "/dev/null", "--wrap")
        return self.submit(*words, f"sleep {seconds}")

    def kill_node(self, node: str) -> None:
        """Kill a node's slurmd with SIGKILL: its processes stay, as on a cut network."""
        self._end(node, signal.SIGKILL)

    def start_node(self, node: str, wait: bool = True) -> None:
        """Start a node's slurmd (again); with `wait`, until the controller has it back."""
        self._daemon(node, "slurmd", "-D", "-N", node)
        if wait:
            wait_until(lambda: self._node_states().get(node) in _USABLE, 60, f"{node} is not back")

    def refresh_node(self, node: str) -> None:
        """Start a node's slurmd again if it is not running; do not wait."""
        process = self._running.get(node)
        if process is None or process.poll() is not None:
            self.start_node(node, wait=False)

    def mark_down(self, node: str) -> None:
        """Do as an administrator: declare a node lost at once, without waiting for a timeout."""
        self.run("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")

    def stop_controller(self) -> None:
        """End slurmctld; its state stays, and jobs go on."""
        self._end("slurmctld", signal.SIGTERM)

    def start_controller(self, forget: bool = False) -> None:
        """Start slurmctld and wait until it answers; with `forget` it knows no job any more."""
        self._daemon("slurmctld", "slurmctld", "-D", *(["-c"] if forget else []))
        wait_until(
            lambda: self.run("scontrol", "ping", check=False).stdout.count(" is UP") == 1,
            60, "slurmctld does not answer",
        )  # fmt: skip

    def wait_idle(self) -> None:
        """Wait until every node could run something; bring back those marked down."""

        def idle() -> bool:
            states = self._node_states()
            for node, state in states.items():
                if state.startswith(("down", "drain")) and node in self._running:
                    words = ("update", f"NodeName={node}", "State=RESUME")
                    self.run("scontrol", *words, check=False)
            return len(states) == len(NODES) and all(s == "idle" for s in states.values())

        wait_until(idle, 60, "the nodes are not idle")

    def cancel_all(self) -> None:
        """Cancel every job and wait until none is left."""
        self.run("scancel", "-u", pwd.getpwuid(os.getuid()).pw_name, check=False)
        wait_until(
            lambda: not self.run("squeue", "-h", check=False).stdout.strip(),
            60, "the queue is not empty",
        )  # fmt: skip

    def refresh(self) -> None:
        """Bring the cluster back to how a test finds it, whatever the one before has done."""
        controller = self._running.get("slurmctld")
        if controller is None or controller.poll() is not None:
            self.start_controller()
        for node in NODES:
            self.refresh_node(node)
        self.cancel_all()
        self.wait_idle()

    def _node_states(self) -> dict[str, str]:
        out = self.run("sinfo", "-h", "-N", "-p", "debug", "-o", "%N|%T", check=False).stdout
        return dict(line.split("|") for line in out.split())

    def _lay_out(self) -> None:
        for name in ("munge", "state", "spool", "log", "dev"):
            (self.folder / name).mkdir(exist_ok=True)
        for name in (".", "munge"):
            (self.folder / name).chmod(0o755)
        key = self.folder / "munge/key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o600)
        for minor, name in ((3, "gpu0"), (5, "gpu1")):  # /dev/null and /dev/zero by other names
            os.mknod(self.folder / "dev" / name, 0o666 | stat.S_IFCHR, os.makedev(1, minor))
        ports = _free_ports(4 + len(NODES))
        user = pwd.getpwuid(os.getuid()).pw_name
        if self.accounting:
            dbd = self.folder / "slurmdbd.conf"
            dbd.write_text(_DBD_CONF.format(folder=self.folder, ports=ports[-2:], user=user))
            dbd.chmod(0o600)
            self._database_port = ports[-1]
            self.extra = (
                f"{_ACCOUNTING.format(folder=self.folder, ports=ports[-2:])}\n{self.extra}".strip()
            )
        nodes = "\n".join(
            f"NodeName={node} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} CPUs=4 "
            f"RealMemory=4000 Gres=gpu:2 State=UNKNOWN"
            for node, port in zip(NODES, ports[2:-2], strict=True)
        )
        text = _CONF.format(
            folder=self.folder, ports=ports, nodes=nodes, extra=self.extra,
            user=user, kill_wait=KILL_WAIT_SECONDS,
        )  # fmt: skip
        own = [line.partition("=")[0] + "=" for line in self.extra.splitlines()]
        kept = text.removesuffix(f"{self.extra}\n").splitlines()
        lines = [line for line in kept if not line.startswith(tuple(own))]
        self.conf.write_text("\n".join([*lines, self.extra, ""]), encoding="utf-8")
        if self._version() >= (23, 11):  # its slurmd would not start without cgroups
            (self.folder / "cgroup.conf").write_text("CgroupPlugin=disabled\n", encoding="utf-8")
        gres = f"NodeName=node[1-4] Name=gpu File={self.folder}/dev/gpu[0-1]\n"
        (self.folder / "gres.conf").write_text(gres, encoding="utf-8")

    def _version(self) -> tuple[int, int]:
        """Return which Slurm this is, such as (22, 5)."""
        year, month = self.run("slurmd", "-V").stdout.split()[-1].split(".")[:2]
        return int(year), int(month)

    def _start_accounting(self) -> None:
        data, sock = self.folder / "database", self.folder / "database.sock"
        user = f"--user={pwd.getpwuid(os.getuid()).pw_name}"
        self.run("mariadb-install-db", "--no-defaults", user, f"--datadir={data}", "--skip-test-db")
        self._daemon(
            "mariadbd", "mariadbd", "--no-defaults", user, f"--datadir={data}",
            f"--socket={sock}", f"--pid-file={self.folder / 'mariadbd.pid'}",
            "--bind-address=127.0.0.1", f"--port={self._database_port}", "--skip-grant-tables",
        )  # fmt: skip
        wait_until(sock.exists, 60, "mariadbd has no socket")
        self._daemon("slurmdbd", "slurmdbd", "-D")
        wait_until(
            lambda: self.run("sacctmgr", "-n", "show", "qos", check=False).returncode == 0,
            60, "slurmdbd does not answer",
        )  # fmt: skip

    def _add_account(self) -> None:
        user = pwd.getpwuid(os.getuid()).pw_name
        wait_until(
            lambda: "tv" in self.run("sacctmgr", "-n", "show", "cluster", check=False).stdout,
            60, "slurmctld has not come to slurmdbd",
        )  # fmt: skip
        self.run("sacctmgr", "-i", "add", "account", "lab")
        self.run("sacctmgr", "-i", "add", "user", user, "account=lab", check=False)
        self.run("sacctmgr", "-i", "modify", "user", user, "set", "DefaultAccount=lab")

    def _daemon(self, name: str, *words: str) -> None:
        with (self.folder / "log" / f"{name}.out").open("ab") as log:
            self._running[name] = subprocess.Popen(
                words, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=_dies_with_parent(), cwd=self.folder,
            )  # fmt: skip

    def _end(self, name: str, signum: signal.Signals) -> None:
        process = self._running.pop(name)
        process.send_signal(signum)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


_USABLE = ("idle", "mixed", "allocated", "completing")


def wait_until(true: Callable[[], object], seconds: float, otherwise: str) -> None:
    """Wait until something is true; fail with `otherwise` after so many seconds."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"{otherwise} after {seconds} s"
        time.sleep(0.1)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(count):
            one = stack.enter_context(socket.socket())
            one.bind(("127.0.0.1", 0))
            found.append(one.getsockname()[1])
        return found


def _dies_with_parent() -> Callable[[], None] | None:
    """Return what makes Linux end a daemon whose test run was killed."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return lambda: library.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def skip_or_fail(reason: str) -> None:
    """Skip the test, or fail it where services are required."""
    if os.environ.get("TRACKVERSE_REQUIRE_SERVICES") == "1":
        pytest.fail(f"TRACKVERSE_REQUIRE_SERVICES=1, but {reason}")
    pytest.skip(reason)


@contextlib.contextmanager
def use_cluster(cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmCluster]:
    """Point this process and its children at a cluster, as a user's shell would."""
    for name in [name for name in os.environ if name.startswith(("SLURM_", "SBATCH_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SLURM_CONF", str(cluster.conf))
    yield cluster


@pytest.fixture(scope="session")
def slurm_cluster() -> Iterator[SlurmCluster]:
    """A cluster for the whole test run of this process; most tests want `slurm` instead."""
    reason = missing()
    if reason:
        skip_or_fail(reason)
    with SlurmCluster() as cluster:
        yield cluster


@pytest.fixture
def slurm(slurm_cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmCluster]:
    """The cluster, with an empty queue, all nodes up, and SLURM_CONF set for the test."""
    slurm_cluster.refresh()
    with use_cluster(slurm_cluster, monkeypatch) as cluster:
        yield cluster
