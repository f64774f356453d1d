"""A card that is only pretended: FFmpeg's and PyAV's own NVDEC code runs on a driver of ours.

`install` builds the driver (`driver.c`, `nvenc.c`) and loads it into this process. FFmpeg asks the
system for libraries by name and is given those that are there. What a picture decodes to it is told
by `teach`. Torch has no such driver: its tensors of the card's memory are made as those of main
memory, which it is, and are told to be on the card where an encoder takes them.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import struct
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
LIBRARIES = {
    "libcuda.so.1": ("driver.c", ["-DCUDA"], rb"\bcu(?!vid)[A-Z]\w+"),
    "libnvcuvid.so.1": ("driver.c", [], rb"\bcuvid\w+"),
    "libnvidia-encode.so.1": ("nvenc.c", [], rb"\bNvEncodeAPI\w+"),
}
"""What each is built from, and what FFmpeg looks up in it."""

COMPILER = ["cc", "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]

_full = torch.full
_thread = threading.local()
_loaded: dict[str, ctypes.CDLL] = {}


def missing() -> str | None:
    """What keeps a card from being pretended here."""
    if sys.platform != "linux" or sys.maxsize < 1 << 32:
        return "the pretended driver is written for Linux of 64 bits"
    if shutil.which("cc") is None:
        return "there is no C compiler `cc`"
    if not _ffmpeg():
        return "this PyAV was not installed from a wheel, and its FFmpeg is elsewhere"
    if torch.version.cuda is not None:
        return "torch is built with CUDA, and would find the pretended driver"
    return None


def _ffmpeg() -> list[Path]:
    beside = Path(av.__file__).parents[1] / "av.libs"
    return [one for name in ("avutil", "avcodec") for one in beside.glob(f"lib{name}-*.so*")]


def install(folder: Path) -> None:
    """Build the driver in a folder, once for this process, and load it."""
    if _loaded:
        return
    content = b"".join(one.read_bytes() for one in _ffmpeg())
    for name, (source, flags, pattern) in LIBRARIES.items():
        known = (HERE / source).read_bytes()
        wanted = set(re.findall(pattern, content))
        unused = sorted(one for one in wanted if re.search(rb"\b%b\(" % one, known) is None)
        own = folder / name.partition(".")[0]
        own.mkdir()
        (own / "unused.h").write_bytes(b"".join(b"UNUSED(%b)\n" % one for one in unused))
        built = own / name
        words = [*COMPILER, *flags, f"-I{own}", f"-Wl,-soname,{name}", "-o", str(built)]
        subprocess.run([*words, str(HERE / source), "-lpthread"], check=True)
        _loaded[name] = ctypes.CDLL(str(built))


def pieces_held() -> int:
    """How many pieces of the card's memory are held."""
    return int(_loaded["libcuda.so.1"].pretended_pieces())


@contextmanager
def torch_was_first() -> Iterator[None]:
    """Have a program use the card already, with other flags than FFmpeg's, as torch does."""
    driver = _loaded["libcuda.so.1"]
    driver.cuDevicePrimaryCtxSetFlags(0, 0)
    with _context(0):
        yield


@contextmanager
def _context(card: int) -> Iterator[ctypes.c_void_p]:
    driver = _loaded["libcuda.so.1"]
    context = ctypes.c_void_p()
    driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), card)
    yield context
    driver.cuDevicePrimaryCtxRelease(card)


@contextmanager
def device(card: Any) -> Iterator[None]:
    """Stand in for `torch.cuda.device`: make a card the current one of this thread for a while."""
    before = getattr(_thread, "card", 0)
    # What torch says is on a card is, here, in main memory.
    _thread.card = card if isinstance(card, int) else before
    yield
    _thread.card = before


@contextmanager
def current(card: int) -> Iterator[None]:
    """Stand in for `cards.current`, with the context that all share."""
    driver = _loaded["libcuda.so.1"]
    with device(card), _context(card) as context:
        driver.cuCtxPushCurrent_v2(context)
        yield
        driver.cuCtxPopCurrent_v2(ctypes.byref(context))


def _hash(content: bytes) -> int:
    count = _loaded["libnvcuvid.so.1"].pretended_hash
    count.restype, count.argtypes = ctypes.c_uint64, [ctypes.c_char_p, ctypes.c_size_t]
    return int(count(content, len(content)))


def _place(capsule: Any) -> Any:
    """Return where DLPack says a tensor is: what kind of memory (1 main, 2 CUDA's), which card."""
    api = ctypes.pythonapi.PyCapsule_GetPointer
    api.restype, api.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return (ctypes.c_int32 * 2).from_address(api(capsule, b"dltensor") + 8)


def tensor_of(capsule: Any) -> Any:
    """Make a tensor of a plane that PyAV says is on a card, or is not."""
    place = _place(capsule)
    assert place[0] in (1, 2)
    place[:] = [1, 0]
    return torch.utils.dlpack.from_dlpack(capsule)


class CardTensor(torch.Tensor):
    """A tensor that says it is on the card `card`; so do its parts.

    Like torch's own it hands its memory out only where its card is the current one.
    """

    card = 0

    def __dlpack__(self, **_: Any) -> Any:
        assert getattr(_thread, "card", 0) == self.card, "torch refuses this"
        capsule = self.as_subclass(torch.Tensor).__dlpack__()
        _place(capsule)[:] = [2, self.card]
        return capsule


def full(*words: Any, device: str, **how: Any) -> Any:
    """Stand in for `torch.full` on the card."""
    assert device == f"cuda:{CardTensor.card}"
    return _full(*words, **how).as_subclass(CardTensor)


def on_card(planes: tuple[Any, ...]) -> tuple[Any, ...]:
    """Say that planes are on the card."""
    return tuple(plane.as_subclass(CardTensor) for plane in planes)


def teach(path: Path, pictures: Path) -> None:
    """Add to a file of pictures what each packet of a video (H.264, HEVC or VP9) decodes to."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        codec, extra = context.codec.canonical_name, context.extradata or bytes(22)
        packets = [(packet.pts, bytes(packet)) for packet in container.demux(stream) if packet.size]
    frames: dict[int | None, av.VideoFrame] = {}
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        for packet in container.demux(stream):
            try:
                frames |= {frame.pts: frame for frame in packet.decode()}
            except av.error.FFmpegError:
                continue
        coded = stream.codec_context.coded_width, stream.codec_context.coded_height
    prefix = (extra[4 if codec == "h264" else 21] & 3) + 1
    with pictures.open("ab") as file:
        for pts, content in packets:
            if pts in frames:
                if codec == "vp9":
                    sent = _last_frame(content)
                else:
                    sent = b"".join(b"\0\0\1" + one for one in slices(content, codec, prefix))
                surface = _surface(frames[pts], coded)
                file.write(struct.pack("<QQ", _hash(sent), len(surface)) + surface)


def slices(packet: bytes, codec: str, prefix: int) -> Iterator[bytes]:
    """Yield the units of a packet that hold a slice; only those are sent to NVDEC."""
    at = 0
    while at + prefix < len(packet):
        begin = at + prefix
        at = begin + int.from_bytes(packet[at:begin], "big")
        kind = packet[begin] & 31 if codec == "h264" else packet[begin] >> 1 & 63
        if kind in (1, 5) if codec == "h264" else kind < 32:
            yield packet[begin:at]


def _last_frame(packet: bytes) -> bytes:
    """Return the last frame of a VP9 packet, the one that is shown; others may lie before it."""
    mark = packet[-1]
    count, wide = (mark & 7) + 1, (mark >> 3 & 3) + 1
    index = packet[-2 - count * wide :]
    if mark >> 5 != 6 or index[0] != mark:
        return packet
    sizes = [int.from_bytes(index[1 + n * wide :][:wide], "little") for n in range(count)]
    return packet[sum(sizes[:-1]) : sum(sizes)]


def _surface(frame: av.VideoFrame, coded: tuple[int, int]) -> bytes:
    """Return a frame as NVDEC leaves it: NV12 or P010, and white where nothing is shown."""
    deep = frame.format.components[0].bits > 8
    kind = np.dtype("<u2" if deep else "u1")
    plain = frame.reformat(format="p010le" if deep else "nv12")
    content = b""
    for number, plane in enumerate(plain.planes):
        rows = np.frombuffer(plane, kind).reshape(plane.height, -1)[:, : frame.width]
        beyond = (0, coded[1] // (1 + number) - plane.height), (0, coded[0] - frame.width)
        content += np.pad(rows, beyond, constant_values=np.iinfo(kind).max).tobytes()
    return content
