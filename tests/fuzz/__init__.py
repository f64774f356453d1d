"""What strangers and broken disks may hand to us, handed over on purpose: one module a reader.

Each target has `seeds()`, good and nearly good inputs, and `check(data, folder)`, which gives
`data` to the reader and raises AssertionError, or whatever escapes, where a promise is broken.
`python -m tests.fuzz TARGET --seconds N` lets atheris look for such data (`pip install atheris`);
tests/test_hostile_readers.py does the same for seconds with hypothesis, and keeps what was found.
"""

from __future__ import annotations

TARGETS = ("metadata", "gzipped", "configuration", "ledger", "sidx", "index")
