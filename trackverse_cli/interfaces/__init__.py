"""What a plugin implements: executors start the ranks of a job, decoders bring frames.

Nothing here is heavy: a plugin's module can be imported, listed and asked whether it is usable
without loading what it needs to work.
"""

from trackverse_cli.interfaces.decoders import (
    Ability,
    Colour,
    Damage,
    Decoder,
    DecoderPlugin,
    Frame,
    VideoInfo,
    close_decoder,
    key_before,
    note_of,
    sound_frames,
)
from trackverse_cli.interfaces.executors import (
    CollectsResults,
    DescribesJobs,
    DetailsTasks,
    Executor,
    ExecutorPlugin,
    Job,
    Task,
    TaskDetail,
    TaskState,
)

__all__ = [
    "Ability",
    "CollectsResults",
    "Colour",
    "Damage",
    "Decoder",
    "DecoderPlugin",
    "DescribesJobs",
    "DetailsTasks",
    "Executor",
    "ExecutorPlugin",
    "Frame",
    "Job",
    "Task",
    "TaskDetail",
    "TaskState",
    "VideoInfo",
    "close_decoder",
    "key_before",
    "note_of",
    "sound_frames",
]
