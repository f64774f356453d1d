"""Builds the library that samples planes (`bilinear.c`), where a C compiler is at hand.

Without one the wheel holds Python alone, and OpenCV samples in its place.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sysconfig
from contextlib import suppress
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "trackverse_pyav"
NAMES = "bilinear.c", "libbilinear.so"


class CustomBuildHook(BuildHookInterface[Any]):
    """Compiles before a wheel is made, also an editable one, which finds the library in place."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the library to a wheel, which then is one for this platform."""
        if self.target_name != "wheel":
            return
        source, library = (Path(self.root, "plugins", PACKAGE, name) for name in NAMES)
        problem = _compile(source, library)
        if problem:
            self.app.display_warning(f"crops will be taken by OpenCV, more slowly: {problem}")
            return
        if version != "editable":
            build_data["force_include"][str(library)] = f"{PACKAGE}/{library.name}"
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform}"


def _compile(source: Path, library: Path) -> str | None:
    """Compile, and return why that was not possible, or None."""
    compiler = shlex.split(os.environ.get("CC", "cc"))
    partial = library.with_suffix(f".{os.getpid()}")
    words = [*compiler, "-std=c99", "-O3", "-shared", "-fPIC", "-o", str(partial), str(source)]
    try:
        subprocess.run(words, capture_output=True, text=True, check=True)
        partial.replace(library)
    except subprocess.CalledProcessError as error:
        problem = f"{compiler[0]} ended with {error.returncode}: {error.stderr.strip()[:300]}"
    except OSError as error:
        problem = str(error)
    else:
        return None
    with suppress(OSError):
        partial.unlink(missing_ok=True)
        library.unlink(missing_ok=True)  # what is there may be of another source
    return problem
