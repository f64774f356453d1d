"""What Slurm says of tasks, read and judged: text in, states out; nothing here runs anything."""

from __future__ import annotations

from dataclasses import dataclass

from trackverse_cli.interfaces import TaskDetail, TaskState

STOPPED_EARLY = 75

# The reason last: it alone may hold anything.
SQUEUE_FIELDS = "JobArrayID:|,State:|,exit_code:|,RestartCnt:|,StartTime:|,NodeList:|,Reason:"

_WAITING = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED")
_HELD = ("REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD")
_AT_WORK = ("RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "STAGE_OUT", "SIGNALING", "RESIZING")
_HELD_REASONS = (
    "launch failed requeued held", "job requeued in held state", "JobHoldMaxRequeue",
)  # fmt: skip
_HELD_BY_SOMEONE = ("JobHeldUser", "JobHeldAdmin")

_ENDS = {
    "TIMEOUT": "reached its time limit before it could be queued again",
    "CANCELLED": "was cancelled",
    "NODE_FAIL": "lost its node",
    "BOOT_FAIL": "its node did not boot",
    "OUT_OF_MEMORY": "needs more than [executor.slurm] memory",
    "PREEMPTED": "was preempted and not queued again",
    "DEADLINE": "passed its deadline",
    "REVOKED": "was revoked",
}
_WAITS = {
    "Priority": "waits: others come first (Priority)",
    "Resources": "waits for free nodes (Resources)",
    "JobArrayTaskLimit": "waits for the job's own throttle (JobArrayTaskLimit)",
    "Dependency": "waits for another job (Dependency)",
    "PartitionTimeLimit": "asks for more time than the partition allows: [executor.slurm] time",
    "PartitionConfig": "asks for more than the partition allows (PartitionConfig): "
    "[executor.slurm] time, cpus_per_task, memory or partition",
    "PartitionDown": "its partition is down (PartitionDown)",
    "PartitionInactive": "its partition is inactive (PartitionInactive)",
    "BadConstraints": "no node is like that: [executor.slurm] constraint, memory, cpus_per_task",
    "ReqNodeNotAvail": "the nodes it needs are not available (ReqNodeNotAvail)",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """What Slurm says of one task.

    Attributes:
        state: Slurm's word, in its long form.
        code: the exit code, 128 + number after a signal; None if not told.
        restarts: how often Slurm has started it again.
        start: when it started or is to start, as Slurm writes it; may be empty.
        nodes: where it runs or ran; may be empty.
        reason: why it waits, in Slurm's word; may be empty.
    """

    state: str
    code: int | None = None
    restarts: int = 0
    start: str = ""
    nodes: str = ""
    reason: str = ""

    @property
    def held(self) -> bool:
        """Whether it was queued again, but will not start before someone releases it."""
        reason = self.reason.replace("_", " ").strip("()")
        return self.state in _HELD or (
            self.state in _WAITING
            and (
                reason.startswith(_HELD_REASONS)
                or (self.restarts > 0 and reason.startswith(_HELD_BY_SOMEONE))
            )
        )

    @property
    def task_state(self) -> TaskState:
        """What that means; a word of Slurm that is not known here is UNKNOWN."""
        if self.held:
            return TaskState.FAILED
        if self.state in _WAITING:
            return TaskState.PENDING
        if self.state in _AT_WORK:
            return TaskState.RUNNING
        if self.state in ("COMPLETED", "FAILED"):
            failed = self.state == "FAILED" and not self.code
            return TaskState.FAILED if failed else of_code(self.code or 0)
        return TaskState.FAILED if self.state in _ENDS else TaskState.UNKNOWN


def of_code(code: int) -> TaskState:
    """Return what an exit code of a rank means."""
    if code == STOPPED_EARLY:
        return TaskState.STOPPED
    return TaskState.SUCCEEDED if code == 0 else TaskState.FAILED


def parse_squeue(text: str) -> dict[str, Seen]:
    """Return `12_3` -> what squeue said, asked for SQUEUE_FIELDS; odd lines are left out.

    Tasks that squeue shows together (`12_[4-9]`) are under `12_*`: they wait.
    """
    found: dict[str, Seen] = {}
    for line in text.splitlines():
        parts = [part.strip() for part in line.split("|", 6)]
        if len(parts) < 7 or "_" not in parts[0]:
            continue
        name, state, code, restarts, start, nodes, reason = parts
        job, _, index = name.partition("_")
        found[name if index.isdecimal() else f"{job}_*"] = Seen(
            state.partition(" ")[0], _code(code), int(restarts) if restarts.isdecimal()
            else 0, _known(start), _known(nodes), _known(reason),
        )  # fmt: skip
    return found


def parse_sacct(text: str) -> dict[str, Seen]:
    """Return `12_3` -> what `sacct -P -n -X -o JobID,State,ExitCode,NodeList` said."""
    found: dict[str, Seen] = {}
    for line in text.splitlines():
        parts = [part.strip() for part in line.split("|")]
        if len(parts) < 4 or "_" not in parts[0]:
            continue
        # CANCELLED reads "CANCELLED by 1000"
        state = parts[1].partition(" ")[0].removesuffix("+")
        found[parts[0]] = Seen(state, _code(parts[2]), nodes=_known(parts[3]))
    return found


def _code(text: str) -> int | None:
    """Return an exit code, 128 + number after a signal; None if it is not told.

    sacct writes `code:signal`. So does the squeue of newer versions (seen with 24.11); that of
    older ones (22.05) writes the status as wait(2) has it.
    """
    code, colon, signal = text.partition(":")
    if not code.isdecimal() or (colon and not signal.isdecimal()):
        return None
    if not colon:
        code, signal = str(int(code) >> 8), str(int(code) & 127)
    return 128 + int(signal) if int(signal) else int(code)


def _known(text: str) -> str:
    return "" if text in ("None", "(null)", "N/A", "Unknown", "None assigned") else text


def detail(task: str, seen: Seen) -> TaskDetail:
    """Return where a task is and why it waits, or what became of it.

    Args:
        task: its name, `12_3`.
        seen: what Slurm says of it.
    """
    notes = [_note(task, seen)]
    if seen.restarts:
        notes.append("restarted once" if seen.restarts == 1 else f"restarted {seen.restarts} times")
    place = f"{task} on {seen.nodes}" if seen.nodes else task
    return TaskDetail(place, "; ".join(filter(None, notes)))


def _note(task: str, seen: Seen) -> str:
    if seen.held:
        return f"held after a restart ({seen.reason or seen.state}); `scontrol release {task}`"
    if seen.state in _WAITING:
        if seen.reason == "BeginTime":
            return f"starts at {seen.start}" if seen.start else "waits for its start time"
        known = next((text for key, text in _WAITS.items() if seen.reason == key), "")
        return known or (f"waits ({seen.reason})" if seen.reason else "")
    if seen.state == "FAILED":
        code = seen.code or 0
        if code == STOPPED_EARLY:
            return "stopped early (75); run `trackverse submit` again later"
        return f"ended by signal {code - 128}" if code > 128 else f"exit code {code}"
    if seen.state in _AT_WORK:
        return "" if seen.state == "RUNNING" else seen.state.lower()
    return _ENDS.get(seen.state, "")
