"""A file of the ledger: what is whole in it is found, by every reader, and compaction keeps it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from trackverse_cli.layout import Layout
from trackverse_cli.ledger import LedgerFollower, compact, read_ledger, run_files

if TYPE_CHECKING:
    from pathlib import Path

    from trackverse_cli.ledger import LedgerState

_RUN = (
    b'{"kind":"run","time":1.0,"run":"r","stage":"download-tracks","rank":0,"world_size":2,'
    b'"host":"h","pid":1,"version":"0","metadata":"Tiny","job":"J"}\n'
)
_LINES = (
    b'{"kind":"video","time":2.0,"video_id":"abcdefghijk","state":"present","bytes":9,"width":3}\n',
    b'{"kind":"video","time":2.5,"video_id":"abcdefghijk","state":"failed","reason":"permanent",'
    b'"message":"gone","source_size":[1280,720],"clips":3,"tries":2,"since":1.5}\n',
    b'{"kind":"clips","time":3.0,"video_id":"abcdefghijk","recipe":"q","done":[["t1",3,9,"c"]]}\n',
    b'{"kind":"track","time":4.0,"video_id":"abcdefghijk","track_id":"t2","recipe":"q",'
    b'"reason":"beyond-end","message":"m"}\n',
    b'{"kind":"track","time":2.0,"video_id":"abcdefghijk","track_id":"t1","recipe":"q",'
    b'"reason":"beyond-end","message":"m","source_bytes":3}\n',
    b'{"kind":"video","time":5,"video_id":"bbbbbbbbbbb","state":"present","ranges":[[0,1.5]]}\n',
    b'{"kind":"end","time":9.0}\n',
)
_ODD = (
    b'{"kind":"clips","time":3.0,"video_id":"abcdefghijk","recipe":"q","done":"\xff"}\n',
    b'{"kind":"clips","time":3.0,"video_id":"abcdefghijk","recipe":"q","done":[[1]]}\n',
    b'{"kind":"clips","time":1e308,"video_id":"","recipe":"","done":[["",-1,99999999999999999999,""'
    b"]]}\n",
    b'{"kind":"video","time":-1e308,"video_id":"../../../x","state":"evicted","bytes":-1}\n',
    # One flipped bit in the name of a track.
    b'{"kind":"clips","time":3.0,"video_id":"abcdefghijk","recipe":"q","done":[["\xc11",3,9,"c"]]}\n',
    # Two lines that ran into one: the last of two keys counts.
    b'{"kind":"video","time":6,"video_id":"bbbbbbbbbbb","x":1,"video_id":"abcdefghijk",'
    b'"state":"present"}\n',
    b"\0\0\0\0\n",
    b'{"kind":"run","time":1}\n',
)


def seeds() -> list[bytes]:
    """Return whole, torn and odd files."""
    whole = _RUN + b"".join(_LINES)
    return [whole, whole[:-9], _RUN + b"".join(_ODD), whole + _RUN, b"".join(reversed(_LINES)),
            *(_RUN + line for line in (*_LINES, *_ODD))]  # fmt: skip


def check(data: bytes, folder: Path) -> None:
    """Read `data` as the only file, then compact it and read again."""
    layout = Layout(folder)
    layout.ledger.mkdir(exist_ok=True)
    for old in layout.ledger.iterdir():
        old.unlink()
    path = layout.ledger / "20260101T000000Z-x.jsonl"
    path.write_bytes(data)
    os.utime(path, (1e9, 1e9))
    before = _told(read_ledger(layout))
    part = _told(read_ledger(layout, lambda video_id: video_id == "abcdefghijk"))
    assert part["videos"] == {k: v for k, v in before["videos"].items() if k == "abcdefghijk"}
    follower = LedgerFollower(layout, "J")
    follower.look()
    for tally in follower.ranks.values():
        assert tally.done.clips >= 0
        tally.rates(10.0)
    if run_files(layout):
        compact(layout)
        assert _told(read_ledger(layout)) == before, "compaction keeps what is known"


def _told(state: LedgerState) -> dict[str, dict[object, object]]:
    clips: dict[object, object] = {key: state.clips[key] for key in state.clips}
    assert len(state.clips) == len(clips)
    return {
        "videos": {**state.videos}, "sizes": {**state.source_sizes}, "clips": clips,
        "failures": {**state.failures},
    }  # fmt: skip
