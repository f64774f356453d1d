"""The executor `slurm` without a Slurm: what it would hand over, and how it reads what Slurm says.

The outputs read here were recorded from Slurm 22.05, or are quoted from its documentation where
one machine cannot bring them about. UPDATE_GOLDEN=1 writes the golden scripts anew.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from trackverse_cli.errors import LacksError, UsageError
from trackverse_cli.interfaces import DescribesJobs, DetailsTasks, Job, Task, TaskState
from trackverse_cli.plugins import find_plugins
from trackverse_slurm import SlurmSettings, control, records, script, states
from trackverse_slurm.control import refusal
from trackverse_slurm.executor import SlurmExecutor
from trackverse_slurm.states import Seen

if TYPE_CHECKING:
    from collections.abc import Sequence

GOLDEN = Path(__file__).parent / "golden" / "slurm"


def settings(**values: Any) -> SlurmSettings:
    return SlurmSettings.model_validate(values)


def job(ranks: Sequence[int], log_dir: str = "/data/tv/logs/run", **more: Any) -> Job:
    command = ("/opt/py/bin/python", "-m", "trackverse_cli", "--root", "/data/tv", "extract-tracks")
    return Job("trackverse-extract-tracks", command, 128, tuple(ranks), Path(log_dir), **more)


CASES: dict[str, tuple[Job, SlurmSettings, int]] = {
    "usual": (job(range(128), needs_gpu=True), settings(), 1001),
    "sparse-and-split": (
        job([2, 5, 7, 8, 9, 64, 65, 127], delay_seconds=90.4),
        settings(throttle=5, max_requeues=3, requeue_delay_seconds=600, signal_seconds=300),
        64,
    ),
    "every-setting": (
        job(range(10), env={"TRACKVERSE_EXTRACT__WORKERS": "3", "WORD": "it's"}),
        settings(
            partition="gpu,long", account="lab", qos="high", time="2-00:00:00", cpus_per_task=64,
            memory="200G", gpus=4, constraint="a100&ib", nodelist="n[1-4]", exclude="n3",
            ranks_per_task=4, job_name="my tracks", setup=["module load cuda", "ulimit -c 0"],
            options=["--mail-user=me@example.org", "--comment=it's mine"],
        ),
        1001,
    ),
    "odd-paths": (
        Job(
            "odd", ("/opt/my py/python", "it's", "$HOME", "", "a\r\nb", "ü*"), 3, (1,),
            Path("/data/100% of it's \"logs\"; ok"), {"WORD": "`id`\n%A"},
        ),
        settings(),
        1001,
    ),
    "backslash": (job([0], "/data/back\\slash/100%"), settings(), 1001),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_script_is_the_golden_one(name: str) -> None:
    wanted, chosen, size = CASES[name]
    text = script.description(wanted, chosen, "/opt/py/bin/python", size)
    golden = GOLDEN / f"{name}.sh"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_bytes(text.encode())
    assert text.encode() == golden.read_bytes()
    assert subprocess.run(["bash", "-n"], input=text.encode(), check=False).returncode == 0
    assert "\r\n" not in text


@given(st.sets(st.integers(0, 5000)))
def test_ranges_are_read_back(numbers: set[int]) -> None:
    text = script.ranges(numbers)
    assert script.numbers_of(text) == sorted(numbers)
    assert " " not in text


def test_ranges_are_compact() -> None:
    assert script.ranges([9, 2, 5, 7, 8]) == "2,5,7-9"
    assert script.ranges([0, 1]) == "0-1"
    assert script.ranges([]) == ""


@given(
    st.sets(st.integers(0, 4095), min_size=1),
    st.integers(1, 2000),
    st.integers(0, 50),
    st.integers(1, 7),
)
def test_every_rank_is_in_one_call(ranks: set[int], size: int, throttle: int, each: int) -> None:
    groups = script.groups(ranks, each)
    assert sorted(rank for group in groups for rank in group) == sorted(ranks)
    assert all(1 <= len(group) <= each for group in groups)
    firsts = [group[0] for group in groups]
    calls = script.calls(firsts, size, throttle)
    assert [call.offset + index for call in calls for index in call.indexes] == firsts
    assert all(0 <= index < size for call in calls for index in call.indexes)
    if firsts[-1] < size:
        assert [call.offset for call in calls] == [0]
    for earlier, later in pairwise(calls):  # no two calls would fit into one
        assert later.offset + later.indexes[0] - earlier.offset - earlier.indexes[0] >= size
    shares = [call.throttle for call in calls]
    assert all(shares) if throttle else not any(shares)
    assert sum(shares) <= max(throttle, len(calls))


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20))
def test_any_word_survives_bash(word: str) -> None:
    # One process for each word would take minutes; shlex reads what bash does but for $'..'.
    quoted = script.quote(word)
    assert "\r" not in quoted
    assert shlex.split(quoted.replace("$'\\r'", "\\\r")) == [word]


def test_odd_words_survive_a_real_bash() -> None:
    words = ["it's", "$HOME", "a\r\nb", "\r", "", "\\", "ü", "*", "!x", "-n", "a'\r'b", "$'\\r'"]
    line = f"printf '%s\\0' {' '.join(map(script.quote, words))}"
    out = subprocess.run(["bash", "-c", line], capture_output=True, check=True).stdout
    assert out.decode().split("\0")[:-1] == words


def test_a_variable_that_no_shell_can_set_is_refused() -> None:
    with pytest.raises(UsageError, match=r"A; rm"):
        script.script(job([0], env={"A; rm": "x"}), settings(), "python")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"partition": "a\nb"}, "one line"),
        ({"setup": ["a\nb"]}, "one line"),
        ({"memory": "32 GB"}, "pattern"),
        ({"time": "tomorrow"}, "has to be like"),
        ({"time": "00:03:00"}, "twice signal_seconds"),
        ({"time": "4", "signal_seconds": 121}, "twice signal_seconds"),
        ({"cpus_per_task": 0}, "greater than or equal to 1"),
        ({"options": ["--array=1"]}, "--array is set by throttle"),
        ({"options": ["-n4"]}, "-n is set by ranks_per_task"),
        ({"options": ["-osomewhere"]}, "-o is set by the executor"),
        ({"options": ["mail me"]}, "one word"),
        ({"options": ["--"]}, "one word"),
        ({"speed": 9}, "Extra inputs"),
    ],
)
def test_settings_that_cannot_work_are_refused(values: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        settings(**values)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 5400), ("90:30", 5430), ("24:00:00", 86400), ("2-0", 172800), ("1-12:30", 131400),
        ("1-00:00:01", 86401), ("", float("inf")), ("UNLIMITED", float("inf")),
    ],
)  # fmt: skip
def test_time_limits_are_read_as_slurm_does(text: str, seconds: float) -> None:
    from trackverse_slurm.settings import time_limit_seconds

    assert time_limit_seconds(text) == seconds


def test_every_setting_has_a_default_and_says_what_it_is() -> None:
    for name, field in SlurmSettings.model_fields.items():
        assert not field.is_required(), name
        assert field.description, name


RECORDED = """\
12_3|PENDING|0|1|2026-11-22T18:52:13||BeginTime
12_4|COMPLETING|0|0|2026-11-22T18:51:54|node1|None
12_5|COMPLETED|0|1|2026-11-22T18:51:59|node1|None
12_6|FAILED|768|0|2026-11-22T18:51:59|node2|NonZeroExitCode
12_7|FAILED|19200|0|2026-11-22T18:51:59|node2|NonZeroExitCode
12_8|FAILED|9|0|2026-11-22T18:51:59|node2|RaisedSignal:9(Killed)
12_9|FAILED|4021|0|2026-11-22T19:06:26|node1|JobLaunchFailure
12_10|TIMEOUT|0|0|2026-11-22T19:06:26|node1|TimeLimit
12_11|CANCELLED|15|0|2026-11-22T19:06:25||None
12_12|PENDING|0|2|N/A||launch failed requeued held
12_13|PENDING|0|0|N/A||JobHeldUser
12_14|PENDING|0|1|N/A||JobHeldUser
12_15|PENDING|0|0|N/A||Priority
12_16|PENDING|0|0|N/A||PartitionConfig
12_17|NODE_FAIL|0|0|2026-11-22T19:06:26|node1|NodeDown
12_18|RUNNING|0|0|2026-11-22T19:06:26|node3|None
12_19|PENDING|0|0|N/A||(Nodes required for job are DOWN, DRAINED | reserved)
12_[20-99%4]|PENDING|0|0|N/A||Resources
12_100|FRESHLY_INVENTED|0|0|N/A||None
slurm_load_jobs error: something
77|RUNNING|0|0|2026-11-22T19:06:26|node3|None
"""


def test_what_squeue_says_is_read() -> None:
    found = states.parse_squeue(RECORDED)
    assert {name.partition("_")[2]: one.task_state.value for name, one in found.items()} == {
        "3": "pending", "4": "running", "5": "succeeded", "6": "failed", "7": "stopped",
        "8": "failed", "9": "failed", "10": "failed", "11": "failed", "12": "failed",
        "13": "pending", "14": "failed", "15": "pending", "16": "pending", "17": "failed",
        "18": "running", "19": "pending", "*": "pending", "100": "unknown",
    }  # fmt: skip
    told = {name: states.detail(name, one) for name, one in found.items()}
    assert (told["12_18"].place, told["12_18"].note) == ("12_18 on node3", "")
    assert told["12_3"].note == "starts at 2026-11-22T18:52:13; restarted once"
    assert told["12_6"].note == "exit code 3"
    assert told["12_8"].note == "ended by signal 9"
    assert "`scontrol release 12_12`" in told["12_12"].note
    assert "[executor.slurm] time" in told["12_16"].note
    assert told["12_17"].note == "lost its node"
    assert told["12_19"].note.startswith("waits ((Nodes required")


RECORDED_BY_24_11 = """\
5_0|COMPLETED|0:0|0|2026-11-30T13:07:50|node2|None
1_0|FAILED|3:0|0|2026-11-30T13:07:50|node1|NonZeroExitCode
2_0|FAILED|75:0|0|2026-11-30T13:07:50|node1|NonZeroExitCode
3_0|FAILED|0:9|0|2026-11-30T13:07:50|node1|RaisedSignal:9(Killed)
6_0|FAILED|130:0|0|2026-11-30T13:07:50|node2|NonZeroExitCode
7_0|FAILED|odd:0|0|2026-11-30T13:07:50|node2|None
8_0|FAILED|1:odd|0|2026-11-30T13:07:50|node2|None
"""


def test_exit_codes_of_newer_versions_are_read() -> None:
    """They are written as sacct does; 22.05 wrote the status as wait(2) has it."""
    found = states.parse_squeue(RECORDED_BY_24_11)
    assert {name: (one.task_state.value, one.code) for name, one in found.items()} == {
        "5_0": ("succeeded", 0), "1_0": ("failed", 3), "2_0": ("stopped", 75),
        "3_0": ("failed", 137), "6_0": ("failed", 130), "7_0": ("failed", None),
        "8_0": ("failed", None),
    }  # fmt: skip
    assert states.detail("3_0", found["3_0"]).note == "ended by signal 9"


def test_what_sacct_says_is_read() -> None:
    found = states.parse_sacct(
        "12_3|COMPLETED|0:0|node1\n12_4|FAILED|3:0|node1\n12_5|CANCELLED by 0|0:15|node2\n"
        "12_6|FAILED|75:0|node1\n12_7|TIMEOUT|0:0|node1\n12_[8-9]|PENDING|0:0|None assigned\n"
        "12_10|OUT_OF_ME+|0:125|node1\nodd\n"
    )
    assert {name: one.task_state.value for name, one in found.items()} == {
        "12_3": "succeeded", "12_4": "failed", "12_5": "failed", "12_6": "stopped",
        "12_7": "failed", "12_[8-9]": "pending", "12_10": "unknown",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("said", "kind", "names"),
    [
        ("Invalid account or account/partition combination specified", UsageError, ["account"]),
        ("Invalid qos specification", UsageError, ["qos"]),
        ("Requested time limit is invalid (missing or exceeds some limit)", UsageError, ["time"]),
        ("Memory specification can not be satisfied", UsageError, ["memory"]),
        ("CPU count per node can not be satisfied", UsageError, ["cpus_per_task"]),
        ("Requested node configuration is not available", UsageError, ["gpus", "memory"]),
        (
            "QOSMaxSubmitJobPerUserLimit\nsbatch: error: Batch job submission failed: Job violates "
            "accounting/QOS policy (job submit limit, user's size and/or time limits)",
            UsageError,
            ["qos"],
        ),
        ("User's group not permitted to use this partition", UsageError, ["partition"]),
        ("Unable to contact slurm controller (connect failure)", LacksError, ["scontrol ping"]),
        ("Slurm temporarily unable to accept job, sleeping", LacksError, ["scontrol ping"]),
        ("Something nobody has ever read", LacksError, ["administrators"]),
    ],
)
def test_refusals_name_what_to_change(said: str, kind: type[Exception], names: list[str]) -> None:
    error = refusal(f"sbatch: error: {said}\n", settings())
    assert type(error) is kind
    assert all(name in str(error) for name in names)
    assert said.partition("\n")[0] in str(error)
    assert "\n" not in str(error)


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder first on PATH; `fake` puts programs there that say what they are told to."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return folder


def fake(folder: Path, name: str, out: str, code: int = 0, err: str = "") -> None:
    text = f"#!/bin/sh\ncat <<'END'\n{out}\nEND\nprintf '%s' {shlex.quote(err)} >&2\nexit {code}\n"
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


def tasks_of(folder: Path, count: int) -> list[Task]:
    handle = {"job": "12", "log_dir": str(folder), "shared": False}
    return [Task("slurm", k, json.dumps({**handle, "index": k})) for k in range(count)]


def test_accounting_tells_what_squeue_has_forgotten(tmp_path: Path, fakes: Path) -> None:
    fake(fakes, "squeue", "", 1, "slurm_load_jobs error: Invalid job id specified")
    fake(fakes, "scontrol", "AccountingStorageType   = accounting_storage/slurmdbd")
    fake(fakes, "sacct", "12_0|COMPLETED|0:0|n\n12_1|NODE_FAIL|0:0|n\n12_2|FAILED|75:0|n")
    tasks = tasks_of(tmp_path, 4)
    found = SlurmExecutor(settings()).poll(tasks)
    assert [found[task] for task in tasks] == ["succeeded", "failed", "stopped", "unknown"]


def test_without_accounting_a_lost_task_fails_after_a_while(
    tmp_path: Path, fakes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(fakes, "squeue", "", 1, "slurm_load_jobs error: Invalid job id specified")
    fake(fakes, "scontrol", "AccountingStorageType   = accounting_storage/none")
    fake(fakes, "sacct", "12_0|COMPLETED|0:0|n")
    running, tasks = SlurmExecutor(settings()), tasks_of(tmp_path, 1)
    assert running.poll(tasks) == {tasks[0]: TaskState.UNKNOWN}
    now = time.monotonic()
    monkeypatch.setattr("trackverse_slurm.executor.time.monotonic", lambda: now + 61)
    assert running.poll(tasks) == {tasks[0]: TaskState.FAILED}
    records.write_record(
        tmp_path, 0, records.ExitRecord("12_0", 0, 0, requeued=False, host="n", time=0.0)
    )
    assert running.poll(tasks) == {tasks[0]: TaskState.SUCCEEDED}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"job": "12_0"}', '{"job": "12_0", "code": "x"}'])
def test_a_torn_record_is_none(tmp_path: Path, text: str) -> None:
    records.record_path(tmp_path, 0).write_text(text)
    assert records.read_record(tmp_path, 0, "12_0") is None
    assert records.requeues(tmp_path, 0, "12_0") == 0


def test_an_older_run_never_overwrites_the_record_of_a_newer_one(tmp_path: Path) -> None:
    for restart, code in ((1, 0), (0, 143)):
        record = records.ExitRecord("12_0", restart, code, requeued=False, host="n", time=0.0)
        records.write_record(tmp_path, 0, record)
    found = records.read_record(tmp_path, 0, "12_0")
    assert found is not None
    assert found.code == 0
    assert records.read_record(tmp_path, 0, "13_0") is None
    assert [path.name for path in tmp_path.iterdir()] == ["rank-0000.exit"]


def test_tasks_of_strangers_are_unknown_and_left_alone(tmp_path: Path) -> None:
    odd = [Task("slurm", 0, text) for text in ("", "[]", "{}", '{"job": "1; rm", "index": 0}')]
    running = SlurmExecutor(settings())
    assert set(running.poll(odd).values()) == {TaskState.UNKNOWN}
    assert running.details(odd) == {}
    running.cancel(odd)


def test_a_machine_without_slurm_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    find_plugins.cache_clear()
    try:
        [found] = [one for one in find_plugins() if one.name == "slurm"]
    finally:
        find_plugins.cache_clear()
    assert found.problem is not None
    assert "login node" in found.problem
    with pytest.raises(LacksError, match="scontrol"):
        SlurmExecutor(settings()).submit(job([0], str(tmp_path)))


def test_a_slurm_that_hangs_is_given_up(
    tmp_path: Path, fakes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "COMMAND_SECONDS", 0.3)
    for name in ("scontrol", "squeue"):
        (fakes / name).write_text("#!/bin/sh\nexec sleep 60\n")
        (fakes / name).chmod(0o755)
    running = SlurmExecutor(settings())
    with pytest.raises(LacksError, match="did not answer"):
        running.submit(job([0], str(tmp_path)))
    [task] = tasks_of(tmp_path, 1)
    assert running.poll([task]) == {task: TaskState.UNKNOWN}


def test_variables_that_reshape_answers_are_kept_from_slurm(
    tmp_path: Path, fakes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (fakes / "squeue").write_text(f"#!/bin/sh\nenv > {tmp_path}/env\n")
    (fakes / "squeue").chmod(0o755)
    for name in ("SQUEUE_STATES", "SQUEUE_PARTITION", "SLURM_TIME_FORMAT"):
        monkeypatch.setenv(name, "odd")
    fake(fakes, "scontrol", "")
    SlurmExecutor(settings()).poll(tasks_of(tmp_path, 1))
    assert "odd" not in (tmp_path / "env").read_text()


def test_keeps_its_promises() -> None:
    running = SlurmExecutor(settings())
    assert isinstance(running, DescribesJobs)
    assert isinstance(running, DetailsTasks)
    assert Seen("SUSPENDED").task_state is TaskState.RUNNING
    helper = [sys.executable, "-P", "-m", "trackverse_slurm.task", "--log-dir", "x"]
    done = subprocess.run(helper, capture_output=True, text=True, check=False)
    assert done.returncode == 2
