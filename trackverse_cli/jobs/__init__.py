"""From `submit` to an executor and back: jobs planned, started, kept, looked at and ended."""

from trackverse_cli.jobs.follow import JobProgress, exit_code, job_progress, watch
from trackverse_cli.jobs.plan import Plan, catalog_words, plan_job
from trackverse_cli.jobs.record import JobRecord, find_job, load_jobs, save_job
from trackverse_cli.jobs.start import Started, executor_of, start

__all__ = [
    "JobProgress",
    "JobRecord",
    "Plan",
    "Started",
    "catalog_words",
    "executor_of",
    "exit_code",
    "find_job",
    "job_progress",
    "load_jobs",
    "plan_job",
    "save_job",
    "start",
    "watch",
]
