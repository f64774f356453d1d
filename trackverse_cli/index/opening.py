"""Whether the index of a metadata file can be relied on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trackverse_cli.errors import IndexUnusableError
from trackverse_cli.files import checksum
from trackverse_cli.index.manifest import fit_manifest, sample_of
from trackverse_cli.index.names import check_index_name
from trackverse_cli.index.reader import Index

if TYPE_CHECKING:
    from pathlib import Path

    from trackverse_cli.index.manifest import Manifest
    from trackverse_cli.layout import Layout


def _same_content(source: Path, manifest: Manifest) -> bool:
    # A copied root has new times, and every rank that opens it comes by here.
    if manifest.sample:
        return sample_of(source) == manifest.sample
    return checksum(source) == manifest.checksum


def open_index(layout: Layout, name: str) -> Index:
    """Open the index called `name` if it can be relied on.

    Raises:
        IndexUnusableError: there is none, it has another version's schema, a file of it is
            gone, or the metadata file that it was made from has changed since.
    """
    folder = layout.index(check_index_name(name))
    advice = f"run trackverse fetch-meta {name}"
    for attempt in (1, 2):
        manifest = fit_manifest(folder, name, advice)
        try:
            index = Index(name, folder, manifest)
            break
        except OSError as error:
            # A rebuild may have come between; the second look sees the new one.
            if attempt == 2:
                raise IndexUnusableError(
                    f"the index {folder} lacks a file ({error.strerror or error}); {advice}"
                ) from error
    source = layout.root / manifest.source
    try:
        stat = source.stat()
    except OSError:
        return index
    same_stat = (stat.st_size, stat.st_mtime_ns) == (manifest.size_bytes, manifest.mtime_ns)
    if not same_stat and not (
        stat.st_size == manifest.size_bytes and _same_content(source, manifest)
    ):
        raise IndexUnusableError(
            f"the index {folder} was made from another {manifest.source} than the one there now; "
            f"{advice} again"
        )
    index.source = source
    return index
