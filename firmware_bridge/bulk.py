"""Whole captures at once: the parser's rule in numpy, for files of many megabytes.

`index_frames` gives exactly the frames and counters that a Parser fed with the same bytes and
then finished gives; a property test holds the two equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.frames import HEADER, STANDARD_LENGTH
from firmware_bridge.packets import (
    STANDARD_PACKETS,
    CombinedPacket,
    CombinedTimedPacket,
    RegisterReply71,
)
from firmware_bridge.parser import ParserStats, Variant

_STANDARD_TYPES: Final = np.isin(np.arange(256), list(STANDARD_PACKETS))
_COMBINED_TYPES: Final = np.isin(np.arange(256), [CombinedPacket.TYPE, RegisterReply71.TYPE])


@dataclass(frozen=True, slots=True)
class FrameIndex:
    """Where the frames of a capture are.

    data : (B,) uint8, the capture.
    starts, types : (F,) int64 and (F,) uint8, in stream order.
    stats : the parser's counters.
    """

    data: NDArray[np.uint8]
    variant: Variant
    starts: NDArray[np.int64]
    types: NDArray[np.uint8]
    stats: ParserStats

    def starts_of(self, packet_type: int) -> NDArray[np.int64]:
        """(K,) where the frames of one type start."""
        found: NDArray[np.int64] = self.starts[self.types == packet_type]
        return found

    def bytes_at(self, starts: NDArray[np.int64], offset: int, length: int) -> NDArray[np.uint8]:
        """(K, length) uint8: `length` bytes of each frame from `offset` on."""
        taken: NDArray[np.uint8] = self.data[(starts + offset)[:, None] + np.arange(length)]
        return taken

    def words_at(self, starts: NDArray[np.int64], offset: int, count: int) -> NDArray[np.int16]:
        """(K, count) int16: little-endian words of each frame from `offset` on."""
        words: NDArray[np.int16] = self.bytes_at(starts, offset, 2 * count).view("<i2")
        return words


def index_frames(capture: bytes, variant: Variant) -> FrameIndex:
    """Find every frame of a capture that has ended."""
    data = np.frombuffer(capture, np.uint8)
    if variant == "standard":
        starts, valid, whole = _checked_candidates(data)
        lengths = np.full(len(starts), STANDARD_LENGTH)
    else:
        starts, lengths, valid, whole = _unchecked_candidates(data, variant)
    kept = np.flatnonzero(valid)[_leftmost(starts[valid], lengths[valid])]
    stats = ParserStats(bytes_in=len(data), skipped_bytes=len(data) - int(lengths[kept].sum()))
    rejected = _outside(starts[whole & ~valid], starts[kept], lengths[kept])
    if variant == "standard":
        stats.bad_checksums = rejected
    else:
        stats.unconfirmed = rejected
    types = data[starts[kept] + 1]
    for packet_type, count in zip(*np.unique(types, return_counts=True), strict=True):
        stats.frames[int(packet_type)] = int(count)
    return FrameIndex(data, variant, starts[kept], types, stats)


def _candidates(data: NDArray[np.uint8], types: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Where a header byte is followed by one of the types."""
    return np.flatnonzero((data[:-1] == HEADER) & types[data[1:]])


def _checked_candidates(
    data: NDArray[np.uint8],
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Standard headers: where, whether the checksum is right, whether all bytes are here."""
    starts = _candidates(data, _STANDARD_TYPES)
    whole = starts + STANDARD_LENGTH <= len(data)
    # A running sum that wraps at 256 is enough: its differences are the checksums.
    running = np.zeros(len(data) + 1, np.uint8)
    np.cumsum(data, dtype=np.uint8, out=running[1:])
    at = np.where(whole, starts, 0)
    last = np.minimum(at + 10, len(data) - 1)
    return starts, whole & (running[last] - running[at] == data[last]), whole


def _unchecked_candidates(
    data: NDArray[np.uint8], variant: Variant
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Combined headers: where, how long, whether confirmed, whether all bytes are here."""
    size = len(data)
    kind = CombinedTimedPacket if variant == "combined28" else CombinedPacket
    starts = _candidates(data, _COMBINED_TYPES)
    is_reply = data[starts + 1] == RegisterReply71.TYPE
    lengths = np.where(is_reply, RegisterReply71.LENGTH, kind.LENGTH).astype(np.int64)
    behind = starts + lengths
    whole = behind <= size
    header = np.zeros(size + 2 * kind.LENGTH + 1, np.bool_)
    header[starts] = True
    at = np.minimum(behind, size)
    confirmed = header[at] | header[at + kind.LENGTH] | (behind == size)
    if size:
        confirmed |= (behind == size - 1) & (data[-1] == HEADER)
    valid = whole & confirmed
    if variant == "combined28":
        timed = np.flatnonzero(valid & ~is_reply)
        valid[timed] = _plausible_times(data, starts[timed])
    return starts, lengths, valid, whole


def _plausible_times(data: NDArray[np.uint8], starts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """`parser.plausible` of many 28-byte frames."""
    clock = data[starts[:, None] + np.arange(20, 28)].astype(np.int64)
    milliseconds = clock[:, 6] + 256 * clock[:, 7]
    inside = (clock[:, 1:6] <= [12, 31, 23, 59, 59]).all(axis=1)
    return np.asarray(inside & (milliseconds < 1000))


def _leftmost(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which of the windows a scan from the left takes: each time the first behind the last."""
    ends = starts + lengths
    if (ends[:-1] <= starts[1:]).all():
        return np.arange(len(starts))
    following = np.searchsorted(starts, ends).tolist()
    taken: list[int] = []
    index = 0
    while index < len(following):
        taken.append(index)
        index = following[index]
    return np.array(taken, np.int64)


def _outside(
    positions: NDArray[np.int64], starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> int:
    """How many positions lie in none of the frames; those inside were never looked at."""
    if len(starts) == 0:
        return len(positions)
    before = np.searchsorted(starts, positions, "right") - 1
    ends = np.where(before >= 0, (starts + lengths)[before], 0)
    return int((positions >= ends).sum())
