"""A byte stream to packets: finds frames, resynchronises after damage, never raises on noise.

The rule, the same whatever the pieces the bytes arrive in: scan from the left; where a whole
frame stands up, take it and go on behind it; everywhere else move on by one byte. So a broken
frame costs itself and nothing behind it, even when its payload is full of headers.

A standard frame stands up when its checksum is right. A combined frame (0x61) and its register
reply (0x71) have none; they stand up when another header follows them in phase, either directly
or, should that one header be damaged, one frame further on. The price is that a combined packet
is handed out only when the next header has arrived: a constant delay of one sample. Losing bytes
in the middle of a frame breaks the phase, so the torn frame is dropped and the next one kept.

Everything the parser holds back is shorter than two frames, so its memory is bounded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from firmware_bridge.frames import HEADER, STANDARD_LENGTH
from firmware_bridge.packets import (
    STANDARD_PACKETS,
    CombinedPacket,
    CombinedTimedPacket,
    Packet,
    RegisterReply71,
)

Variant: TypeAlias = Literal["standard", "combined20", "combined28"]
VARIANTS: Final[tuple[Variant, ...]] = ("standard", "combined20", "combined28")

_COMBINED_TYPES: Final = (CombinedPacket.TYPE, RegisterReply71.TYPE)
_WAIT: Final = -1
_REJECT: Final = 0


@dataclass(slots=True)
class ParserStats:
    """What a parser has seen so far.

    frames : frames handed out, by type byte.
    bad_checksums : standard headers whose whole frame had a wrong checksum.
    unconfirmed : combined headers whose frame nothing confirmed.
    skipped_bytes : bytes that belong to no frame.
    bytes_in : all bytes fed.
    """

    frames: dict[int, int] = field(default_factory=dict)
    bad_checksums: int = 0
    unconfirmed: int = 0
    skipped_bytes: int = 0
    bytes_in: int = 0

    @property
    def frame_count(self) -> int:
        """Frames of every type together."""
        return sum(self.frames.values())


class Parser:
    """Incremental parser of one stream.

    variant : "standard" (11-byte frames), "combined20" or "combined28" (0x61 frames).
    max_buffer : most bytes taken into the buffer at once; larger input is worked off in slices.
    """

    def __init__(self, variant: Variant = "standard", *, max_buffer: int = 4096) -> None:
        if variant not in VARIANTS:
            raise ValueError(f"variant: found {variant!r}, expected one of {', '.join(VARIANTS)}")
        if max_buffer < 1:
            raise ValueError(f"max_buffer: found {max_buffer}, expected at least 1")
        self.variant = variant
        self.stats = ParserStats()
        self._combined: type[Packet] = (
            CombinedTimedPacket if variant == "combined28" else CombinedPacket
        )
        self._max_buffer = max_buffer
        self._buffer = b""

    @property
    def pending(self) -> int:
        """Bytes held back because the frame they may start is not complete."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Packet]:
        """Take bytes, in pieces of any size, and return the packets they complete."""
        packets: list[Packet] = []
        self.stats.bytes_in += len(data)
        for start in range(0, len(data), self._max_buffer):
            self._buffer += data[start : start + self._max_buffer]
            self._scan(packets, ended=False)
        return packets

    def finish(self) -> list[Packet]:
        """Say that the stream has ended: the last packets, and nothing is held back any more.

        The end of the stream confirms a combined frame that it follows directly.
        """
        packets: list[Packet] = []
        self._scan(packets, ended=True)
        self.stats.skipped_bytes += len(self._buffer)
        self._buffer = b""
        return packets

    def _scan(self, packets: list[Packet], *, ended: bool) -> None:
        stats = self.stats
        examine = self._standard if self.variant == "standard" else self._unchecked
        buffer, position, end = self._buffer, 0, len(self._buffer)
        while position < end:
            start = buffer.find(HEADER, position)
            if start < 0:
                start = end
            stats.skipped_bytes += start - position
            position = start
            if position == end:
                break
            length = examine(buffer, position, packets, ended)
            if length == _WAIT:
                break
            if length == _REJECT:
                stats.skipped_bytes += 1
                position += 1
            else:
                kind = buffer[position + 1]
                stats.frames[kind] = stats.frames.get(kind, 0) + 1
                position += length
        self._buffer = buffer[position:]

    def _standard(self, buffer: bytes, at: int, packets: list[Packet], ended: bool) -> int:
        """Length of the frame at `at`; _REJECT when there is none, _WAIT when bytes are missing."""
        available = len(buffer) - at
        kind = STANDARD_PACKETS.get(buffer[at + 1]) if available > 1 else None
        if available > 1 and kind is None:
            return _REJECT
        if kind is None or available < STANDARD_LENGTH:
            return _REJECT if ended else _WAIT
        frame = buffer[at : at + STANDARD_LENGTH]
        if sum(frame[:10]) & 0xFF != frame[10]:
            self.stats.bad_checksums += 1
            return _REJECT
        packets.append(kind.from_payload(frame))
        return STANDARD_LENGTH

    def _unchecked(self, buffer: bytes, at: int, packets: list[Packet], ended: bool) -> int:
        """As _standard, for the frames that have no checksum."""
        available = len(buffer) - at
        if available > 1 and buffer[at + 1] not in _COMBINED_TYPES:
            return _REJECT
        if available < 2:
            return _REJECT if ended else _WAIT
        kind = RegisterReply71 if buffer[at + 1] == RegisterReply71.TYPE else self._combined
        if available < kind.LENGTH:
            return _REJECT if ended else _WAIT
        frame = buffer[at : at + kind.LENGTH]
        verdict = plausible(frame) and self._confirmed(buffer, at + kind.LENGTH, ended)
        if verdict is None:
            return _WAIT
        if not verdict:
            self.stats.unconfirmed += 1
            return _REJECT
        packets.append(kind.from_payload(frame))
        return kind.LENGTH

    def _confirmed(self, buffer: bytes, behind: int, ended: bool) -> bool | None:
        """Whether a header stands at `behind` or one frame later; None when bytes are missing."""
        if _is_combined_header(buffer, behind):
            return True
        if buffer[behind:] in (b"", b"\x55"):
            return True if ended else None
        later = behind + self._combined.LENGTH
        if _is_combined_header(buffer, later):
            return True
        return None if len(buffer) < later + 2 and not ended else False


def _is_combined_header(buffer: bytes, at: int) -> bool:
    return buffer[at : at + 1] == b"\x55" and buffer[at + 1 : at + 2] in (b"\x61", b"\x71")


def plausible(frame: bytes) -> bool:
    """Whether the clock of a 28-byte frame can be a time; frames without a clock always are."""
    if len(frame) != CombinedTimedPacket.LENGTH:
        return True
    _, month, day, hour, minute, second, ms_low, ms_high = frame[20:28]
    return (
        month <= 12
        and day <= 31
        and hour < 24
        and minute < 60
        and second < 60
        and ms_low + 256 * ms_high < 1000
    )


_PIECE_BYTES: Final = 32768
_LEAST_SHARE: Final = 0.01
"""Noise that passes for frames covers about 1e-5 of its bytes, a badly damaged stream far more."""


def detect_variant(data: bytes) -> Variant | None:
    """Tell the kind of stream by its content: the variant whose frames cover most bytes.

    Looks at the data piece by piece until one is clear; None when all of it is noise.
    """
    for start in range(0, len(data), _PIECE_BYTES):
        piece = data[start : start + _PIECE_BYTES]
        covered = {variant: _covered_bytes(piece, variant) for variant in VARIANTS}
        best = max(VARIANTS, key=covered.__getitem__)
        if covered[best] >= _LEAST_SHARE * len(piece):
            return best
    return None


def _covered_bytes(data: bytes, variant: Variant) -> int:
    parser = Parser(variant)
    parser.feed(data)
    parser.finish()
    return parser.stats.bytes_in - parser.stats.skipped_bytes
