"""What a person writes for a metadata file -> the name of its index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trackverse_cli.errors import RefusedNameError, UsageError
from trackverse_cli.index.manifest import MANIFEST_NAME
from trackverse_cli.layout import check_clip_name
from trackverse_cli.subsets import find_subset, nearest

if TYPE_CHECKING:
    from trackverse_cli.layout import Layout

GZIP_SUFFIXES: Final = (".jsonl.gzip", ".jsonl.gz", ".json.gzip", ".json.gz", ".gzip", ".gz")


def index_name_of(file_name: str) -> str:
    """Return the index's name for a metadata file's name: the name without its suffix.

    Raises:
        UsageError: nothing usable remains.
    """
    for suffix in GZIP_SUFFIXES:
        if file_name.endswith(suffix):
            file_name = file_name.removesuffix(suffix)
            break
    return check_index_name(file_name)


def check_index_name(name: str) -> str:
    """Return `name` if it is one visible path component.

    Raises:
        UsageError: it is not.
    """
    try:
        check_clip_name(name)
    except RefusedNameError:
        usable = False
    else:
        usable = "/" not in name and not name.startswith((".", "-")) and len(name.encode()) <= 200
    if not usable:
        raise UsageError(
            f"{ascii(name)[:120]} cannot name an index; give the metadata file a plain name "
            "that begins with no '.' or '-' and is at most 200 bytes long"
        )
    return name


def known_indexes(layout: Layout) -> list[str]:
    """Return the names of the indexes that the dataset folder has, sorted."""
    return sorted(path.parent.name for path in (layout.root / "index").glob(f"*/{MANIFEST_NAME}"))


def resolve_metadata(layout: Layout, wanted: str) -> str:
    """Return the name of the index that `--meta` or `[dataset] metadata` means.

    Args:
        layout: the dataset folder.
        wanted: a subset's name, a file in `metadata/` with or without its suffix, a path, the
            name of an index, or "" for the only index there is.

    Raises:
        UsageError: nothing, or more than one thing, is meant.
    """
    indexes = known_indexes(layout)
    if not wanted:
        if len(indexes) == 1:
            return indexes[0]
        if not indexes:
            raise UsageError(
                f"{layout.root} has no index yet; run trackverse fetch-meta with a subset's name, "
                "a URL or a path"
            )
        raise UsageError(
            f"{layout.root} has several indexes; choose with --meta one of {', '.join(indexes)}"
        )
    subset = find_subset(wanted)
    if subset:
        return index_name_of(subset.file)
    files = {}
    if layout.metadata.is_dir():
        for path in sorted(layout.metadata.iterdir()):
            if path.name.endswith(GZIP_SUFFIXES) and not path.name.startswith("."):
                files[path.name] = index_name_of(path.name)
    if wanted in files:
        return files[wanted]
    if wanted in indexes or wanted in files.values():
        return wanted
    path = layout.root.joinpath(wanted)
    if path.is_file() or "/" in wanted or wanted.endswith(GZIP_SUFFIXES):
        name = index_name_of(path.name)
        if path.is_file() or name in indexes:
            return name
    known = sorted({*indexes, *files.values()})
    raise UsageError(
        f"no metadata is called {wanted}; {nearest(wanted, known)}"
        if known
        else f"no metadata is called {wanted}; run trackverse fetch-meta {wanted}"
    )
