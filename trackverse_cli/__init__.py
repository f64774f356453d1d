"""trackverse: fetch, download, cut and verify the TrackVerse dataset.

A plugin needs two things from here: `hookimpl`, which marks its hooks, and the types of
`trackverse_cli.interfaces`.
"""

from __future__ import annotations

import pluggy

__version__ = "0.1.0"

hookimpl = pluggy.HookimplMarker("trackverse")
"""Marks a plugin's function as the implementation of one of `trackverse_cli.hookspecs`."""

__all__ = ["__version__", "hookimpl"]
