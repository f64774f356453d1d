"""The configuration as a typed model: every key, its type, its default and what it is for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ByteSize, ConfigDict, Field

Stage = Literal["download-tracks", "download-videos", "extract-tracks"]


class Section(BaseModel):
    """A table of the configuration: immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _url_template(value: str) -> str:
    if "{video_id}" not in value:
        raise ValueError("must hold {video_id}, the place of the video's id")
    return value


def _names(value: Any) -> Any:
    if isinstance(value, str):
        return [value] if value else []
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return value
    raise ValueError("should be a name or a list of names")


def _egress(value: str) -> str:
    if not re.fullmatch("[A-Za-z0-9][A-Za-z0-9_-]{0,63}", value):
        raise ValueError("should be 1 to 64 of A-Z, a-z, 0-9, - and _, no - or _ first")
    return value


class DatasetSettings(Section):
    """Where the dataset is and which part of it is meant."""

    root: Path | None = Field(None, description="The dataset folder; no default, so it is said.")
    metadata: Annotated[list[str], BeforeValidator(_names)] = Field(
        default_factory=list,
        description="Subset names or files in metadata/, one or a list; empty: the only one.",
    )
    select: str = Field("", description="The [select.<name>] in force; empty: every track.")
    quota_bytes: ByteSize | None = Field(
        None, description="What your quota allows on the root's file system, such as 20TB."
    )
    quota_files: int | None = Field(
        None, ge=1, description="How many files it allows; `plan` and `doctor` count against both."
    )


class DownloadSettings(Section):
    """How source videos are fetched."""

    url_template: Annotated[str, AfterValidator(_url_template)] = Field(
        "https://www.youtube.com/watch?v={video_id}", description="The page of a video."
    )
    cookies: Path | None = Field(
        None, description="A Netscape cookie file, or browser:NAME; read, never written or logged."
    )
    max_height: int = Field(
        720, ge=72, description="The smaller side to ask for; boxes were made on 720p."
    )
    proxy: str | None = Field(None, description="A proxy's URL; a password in it is not printed.")
    proxies: list[str] = Field(
        default_factory=list,
        description="Several proxies' URLs, used in turn; each has a pace of its own.",
    )
    ranges: Literal["auto", "off", "always"] = Field(
        "auto",
        description="Fetch only the stretches that tracks need: where it saves much, or always.",
    )
    retry: list[str] = Field(
        default_factory=list,
        description="Reasons to try again now that would wait or never be, such as permanent.",
    )
    floor_bytes_per_second: int = Field(
        16_384, ge=0, description="A slower download, on average over a minute, is broken off."
    )
    max_bytes: ByteSize = Field(
        ByteSize(64_000_000_000),
        gt=0,
        description="A video that is larger, or does not end, is broken off.",
    )
    order: Literal["cost", "coverage"] = Field(
        "cost",
        description="Which videos first; coverage: most clips and the rarest classes a request.",
    )
    yt_dlp: dict[str, Any] = Field(
        default_factory=dict, description="Options passed to yt-dlp as they are."
    )


class ExtractSettings(Section):
    """How clips are cut, and where they go."""

    decoder: str = Field("pyav", description="The decoder plugin; `trackverse plugins` lists them.")
    workers: int = Field(0, ge=0, le=1024, description="Threads of a rank; 0: one for each core.")
    max_clip_seconds: float = Field(
        180.0, gt=0, description="A longer track is cut here, as the original does."
    )
    output: Literal["auto", "files", "webdataset"] = Field(
        "auto",
        description="Clips as files, or in tar shards (webdataset); auto: shards above 500,000.",
    )
    shard_bytes: ByteSize = Field(
        ByteSize(512 << 20), gt=0, description="A shard of this size is full, such as 512MiB."
    )


class EncodeSettings(Section):
    """How clips are compressed; a change makes every clip due again."""

    codec: str = Field(
        "libx264", description="The encoder's name in FFmpeg, such as libx265 or libsvtav1."
    )
    preset: str = Field(
        "veryfast", description="The encoder's preset: slower is smaller; SVT-AV1's are numbers."
    )
    crf: float = Field(23.0, ge=0, le=51, description="Quality: less is better and larger.")
    gop_seconds: float = Field(
        0.5, gt=0, description="Seconds between key frames: the cost of a random access."
    )


class PipelineSettings(Section):
    """How downloading and cutting work together."""

    remove_videos: bool = Field(False, description="Remove a video once all its clips are checked.")
    disk_budget: ByteSize | None = Field(
        None, description="What source videos may take together, such as 500GB; empty: no limit."
    )
    min_free: ByteSize = Field(
        ByteSize(0), description="What downloads leave free on the file system of the videos."
    )
    storage_wait_seconds: float = Field(
        600.0, ge=0, description="How long a full disk or budget is waited for before exit code 75."
    )
    scratch: str = Field(
        "",
        description="A folder of the node, say $TMPDIR, for videos that download-tracks cuts.",
    )
    follow_idle_seconds: float = Field(
        600.0,
        ge=0,
        description="With --follow: give up when no download showed life for so long.",
    )

    def removes(self, stage: Stage) -> bool:
        """Say whether a video goes once its clips are safe."""
        return self.remove_videos or (stage == "download-tracks" and bool(self.scratch))

    def mends(self, stage: Stage) -> bool:
        """Say whether a damaged video on disk is brought again though no clip of it is due."""
        return stage != "extract-tracks" and not self.removes(stage)


class PaceSettings(Section):
    """How fast we may ask, shared by all that leave through one address."""

    egress: Annotated[str, AfterValidator(_egress)] = Field(
        "default", description="A name for the address that we leave through; never guessed."
    )
    videos_per_hour: float | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="Of the whole address; unset: 280 of YouTube, 1000 with cookies.",
    )
    jitter: float = Field(
        0.1, ge=0, le=1, description="Up to this share of the distance is added to it."
    )
    cool_down_seconds: float = Field(
        3600.0,
        ge=1,
        description="The pause after a throttle; doubled when not enough.",
    )
    longest_cool_down_seconds: float = Field(28_800.0, ge=1, description="The pause grows to this.")
    longest_wait_seconds: float = Field(
        600.0,
        ge=0,
        description="A rank that would wait longer for its end stops with exit code 75.",
    )
    throttled_in_a_row: int = Field(
        3, ge=1, description="So many throttles in a row end a rank with exit code 75."
    )
    broken_in_a_row: int = Field(
        5,
        ge=2,
        description="So many videos failing in a row, over all ranks, make the tool suspect.",
    )
    share: int = Field(
        0,
        ge=0,
        le=4096,
        description="Hosts that do not see one [pace] dir divide the pace by this.",
    )
    dir: Path | None = Field(
        None, description="The folder of the shared state; unset: state/pace in the root."
    )


class StageSubmitSettings(Section):
    """What `submit` does for one stage; what is not set comes from [submit]."""

    executor: str | None = Field(None, description="The executor plugin of this stage.")
    world_size: int | None = Field(None, ge=1, le=4096, description="The ranks of this stage.")
    follow: bool = Field(
        False, description="For extract-tracks: take videos as another job brings them."
    )


class SubmitSettings(Section):
    """What `submit` starts, and where."""

    executor: str = Field(
        "local", description="The executor plugin; `trackverse plugins` lists them."
    )
    world_size: int = Field(1, ge=1, le=4096, description="How many ranks share the work.")
    stage: Stage = Field("download-tracks", description="The command that each rank runs.")
    download_tracks: StageSubmitSettings = Field(
        default_factory=StageSubmitSettings,
        alias="download-tracks",
        description="Another executor or world size for this stage.",
    )
    download_videos: StageSubmitSettings = Field(
        default_factory=StageSubmitSettings,
        alias="download-videos",
        description="The same, say on a transfer node.",
    )
    extract_tracks: StageSubmitSettings = Field(
        default_factory=StageSubmitSettings,
        alias="extract-tracks",
        description="The same, say on compute nodes.",
    )

    def of_stage(self, stage: str) -> tuple[str, int]:
        """Return (executor, world size) for a stage."""
        own: StageSubmitSettings = getattr(self, stage.replace("-", "_"))
        return own.executor or self.executor, own.world_size or self.world_size


class SelectSettings(Section):
    """A named selection, for `--select NAME`: which tracks are meant; every condition must hold."""

    classes: list[str] = Field(default_factory=list, description="Only these classes.")
    per_class: int | None = Field(
        None, ge=1, description="At most so many tracks of a class; a larger number adds to them."
    )
    refill: bool = Field(
        False,
        description="Replace what turned out to be unrecoverable, so that classes stay level.",
    )
    videos: Path | None = Field(None, description="Only videos of this list: an id a line.")
    tracks: Path | None = Field(
        None, description="Only tracks of this list: an id, or a clip's file name[,label], a line."
    )
    min_seconds: float | None = Field(None, ge=0, description="Only tracks at least so long.")
    exclude_videos_of: Path | None = Field(
        None, description="No video of this list or metadata file, say of a validation set."
    )
    only: Path | None = Field(None, description="Only what this manifest of `verify` holds.")


class Settings(Section):
    """The whole configuration."""

    dataset: DatasetSettings = Field(default_factory=DatasetSettings)
    download: DownloadSettings = Field(default_factory=DownloadSettings)
    extract: ExtractSettings = Field(default_factory=ExtractSettings)
    encode: EncodeSettings = Field(default_factory=EncodeSettings)
    pipeline: PipelineSettings = Field(default_factory=PipelineSettings)
    pace: PaceSettings = Field(default_factory=PaceSettings)
    submit: SubmitSettings = Field(default_factory=SubmitSettings)
    select: dict[str, SelectSettings] = Field(
        default_factory=dict, description="[select.<name>]: a named selection."
    )
    executor: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="[executor.<name>]: the plugin's own settings."
    )
    decoder: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="[decoder.<name>]: the plugin's own settings."
    )
