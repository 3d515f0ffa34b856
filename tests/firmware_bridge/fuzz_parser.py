"""Fuzz target for the parser. Run it alone for as long as you like:

    python tests/firmware_bridge/fuzz_parser.py -max_total_time=60

Whatever the bytes, and however they are cut into pieces: nothing is raised, every byte is
accounted for, what is held back stays small, packets encode to the bytes they came from, and the
bulk decoder finds the same frames and counts the same errors.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["firmware_bridge"]):
    from firmware_bridge.bulk import index_frames
    from firmware_bridge.commands import split_commands
    from firmware_bridge.packets import Packet, PacketError, decode_packet
    from firmware_bridge.parser import VARIANTS, Parser, detect_variant

MOST_PENDING = 2 * 28 + 1


def check_stream(data: bytes, variant_number: int, piece: int) -> None:
    """Raise AssertionError when a promise of the parser does not hold for `data`."""
    variant = VARIANTS[variant_number % len(VARIANTS)]
    parser = Parser(variant, max_buffer=1 + piece * 7 % 97)
    packets: list[Packet] = []
    for start in range(0, len(data), piece):
        packets += parser.feed(data[start : start + piece])
        assert parser.pending <= MOST_PENDING
    packets += parser.finish()
    stats = parser.stats
    assert sum(packet.LENGTH for packet in packets) + stats.skipped_bytes == len(data)

    index = index_frames(data, variant)
    assert index.stats == stats
    assert len(index.starts) == len(packets)
    for start, packet in zip(index.starts.tolist(), packets, strict=True):
        assert packet.to_bytes() == data[start : start + packet.LENGTH]


def test_one_input(data: bytes) -> None:
    """Atheris calls this with every input it makes up."""
    if len(data) < 2:
        return
    stream = data[2:]
    check_stream(stream, data[0], 1 + data[1])
    detect_variant(stream)
    _, rest = split_commands(stream)
    assert len(rest) < 5
    try:
        packet = decode_packet(stream)
    except PacketError:
        return
    assert packet.to_bytes() == stream


if __name__ == "__main__":
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
