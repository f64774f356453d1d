"""The fault sweep: every command is broken at every call that changes a file, then run again.

    python -m tests.faults             the whole sweep; prints what was hit
    python -m tests.faults --quick     a seeded part of it, as `make test` runs it
    python -m tests.faults --only extract-tracks:kill-before:17           one fault again

How it works, in reading order: `shim.c` counts and breaks calls, `shim.py` loads it; `process.py`
runs a command in a fork of this process; `box.py` is what it runs in, `scenes.py` says which
commands, on what, `originals.py` what other scripts left; `look.py` and `checks.py` what must hold;
`faults.py` the kinds of faults; `sweep.py` puts them together, `workers.py` shares them out.
`happenings.py` lists faults that are no call of a command: `damage.py` to the folder,
`misfortune.py` to a run, with what `kit.py` gives.
"""
