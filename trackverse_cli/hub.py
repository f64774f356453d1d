"""Files of the dataset from the Hugging Face Hub, for `fetch`."""

from __future__ import annotations

import hashlib
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from trackverse_cli.errors import LacksError, TryLaterError, UsageError
from trackverse_cli.files import make_folder
from trackverse_cli.subsets import HUB_REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trackverse_cli.subsets import Subset
    from trackverse_cli.transfer import Progress

_HTTP_LIBRARIES = frozenset({"httpx", "httpx2", "httpcore", "requests", "urllib3"})


def hub_has_same(subset: Subset, target: Path) -> bool:
    """Ask the hub whether its file is the one that is in `metadata/` already.

    Raises:
        LacksError: the hub cannot be reached or wants a permission.
    """
    if not target.is_file():
        return False
    import huggingface_hub as hub

    with _hub_errors(subset):
        url = hub.hf_hub_url(HUB_REPOSITORY, subset.file, repo_type="dataset")
        remote = hub.get_hf_file_metadata(url)
    size = target.stat().st_size
    if remote.size != size or not remote.etag:
        return False
    # Large files carry their SHA-256, small ones the hash that git gives them.
    if len(remote.etag) == 64:
        digest = hashlib.sha256()
    else:
        digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    with target.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return bool(digest.hexdigest() == remote.etag)


def from_hub(subset: Subset, folder: Path, progress: Progress | None) -> Path:
    """Download a subset's file; one that was interrupted goes on where it was.

    Args:
        subset: one that has a file.
        folder: where the file and what the hub's client notes about it go.
        progress: gets bytes done and bytes in all.

    Raises:
        LacksError: the hub cannot be reached or wants a permission.
        UsageError: the hub has no such file.
    """
    import huggingface_hub as hub
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    make_folder(folder, "the folder of incoming metadata")
    with _hub_errors(subset):
        url = hub.hf_hub_url(HUB_REPOSITORY, subset.file, repo_type="dataset")
        total = hub.get_hf_file_metadata(url).size or 0
        with _watched(folder, total, progress):
            hub.hf_hub_download(HUB_REPOSITORY, subset.file, repo_type="dataset", local_dir=folder)
    return folder / subset.file


@contextmanager
def _watched(folder: Path, total: int, progress: Progress | None) -> Iterator[None]:
    """Report the size of what grows in `folder`, since the hub's client only draws bars."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.5):
            sizes = []
            for path in folder.rglob("*"):
                try:
                    sizes.append(path.stat().st_size if path.is_file() else 0)
                except OSError:
                    continue
            if progress:
                progress(min(max(sizes, default=0), total), total)

    thread = threading.Thread(target=watch, daemon=True)
    if progress and total:
        thread.start()
    try:
        yield
    finally:
        done.set()
        if thread.is_alive():
            thread.join()


@contextmanager
def _hub_errors(subset: Subset) -> Iterator[None]:
    from huggingface_hub import errors

    what = f"{subset.file} of {HUB_REPOSITORY}"
    try:
        yield
    except errors.GatedRepoError as error:
        raise LacksError(
            f"the hub does not let this account read {what}; accept its terms on the dataset's "
            "page and log in with `hf auth login`, or set HF_TOKEN"
        ) from error
    except (errors.EntryNotFoundError, errors.RepositoryNotFoundError) as error:
        if not isinstance(error, errors.LocalEntryNotFoundError):
            raise UsageError(
                f"the hub has no {what}; check HF_ENDPOINT, or give the file's URL or path"
            ) from error
        raise _unreachable(what) from error
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", 0)
        if status in (401, 403):
            raise LacksError(
                f"the hub refused to give {what} (HTTP {status}); set HF_TOKEN to a valid token"
            ) from error
        raise TryLaterError(
            f"the hub answered HTTP {status} for {what}; try again later"
        ) from error
    except Exception as error:
        # Which HTTP library the hub's client uses changes between its versions.
        if not isinstance(error, ConnectionError | TimeoutError) and not _is_of_network(error):
            raise
        raise _unreachable(what) from error


def _is_of_network(error: Exception) -> bool:
    return type(error).__module__.partition(".")[0] in _HTTP_LIBRARIES


def _unreachable(what: str) -> LacksError:
    return LacksError(
        f"the hub could not be reached for {what}; check the network and HF_ENDPOINT, run "
        "fetch-meta on a machine with network, or give a path"
    )
