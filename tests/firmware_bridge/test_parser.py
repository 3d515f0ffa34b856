"""The parser under everything a line can do to a stream, and its fast twin held equal to it."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.bulk import index_frames
from firmware_bridge.packets import (
    STANDARD_PACKETS,
    AccPacket,
    CombinedPacket,
    CombinedTimedPacket,
    GyroPacket,
    Packet,
    RegisterReply71,
    TimePacket,
)
from firmware_bridge.parser import VARIANTS, Parser, ParserStats, Variant, detect_variant

steady = settings(deadline=None, derandomize=True)
GOOD = bytes.fromhex("55 51 FF FF 01 00 00 08 C4 09 7A")
HEADERS = bytes.fromhex("55 51 55 51 55 52 55 55 55 51 43")
NINE = (0, 1, 2, 3, 4, 5, 6, 7, 8)
CLOCK = (24, 5, 17, 12, 34, 56, 789)
IMPOSSIBLE = (24, 5, 17, 25, 34, 56, 789)
MOST_PENDING = 2 * 28 + 1
"""Two of the longest frames and a byte of the next header."""


def parse(data: bytes, variant: Variant = "standard") -> tuple[list[Packet], ParserStats]:
    parser = Parser(variant)
    return parser.feed(data) + parser.finish(), parser.stats


@st.composite
def standard_frames(draw: st.DrawFn) -> bytes:
    body = bytes((0x55, draw(st.sampled_from(sorted(STANDARD_PACKETS)))))
    body += draw(st.binary(min_size=8, max_size=8))
    return body + bytes((sum(body) % 256,))


calm_bytes = st.lists(st.integers(0, 0x54), min_size=18, max_size=18).map(bytes)
"""Payloads without the header byte."""

calm_combined = calm_bytes.map(lambda payload: b"\x55\x61" + payload)
nearly_frames = st.one_of(
    standard_frames(),
    standard_frames().map(lambda frame: frame[:-1] + bytes((frame[-1] ^ 1,))),
    standard_frames().map(lambda frame: frame[:6]),
    calm_combined,
    calm_bytes.map(
        lambda payload: b"\x55\x61" + payload + bytes.fromhex("1A 06 16 0E 29 01 19 03")
    ),
    calm_bytes.map(lambda payload: b"\x55\x71" + payload),
    st.binary(max_size=12),
    st.sampled_from([b"\x55", b"\x55\x51", b"\x55\x61", b"\x55\x55\x55"]),
)
streams = st.lists(nearly_frames, max_size=20).map(b"".join)


def test_one_byte_at_a_time_gives_the_same() -> None:
    stream = b"\x00\x55" + GOOD + HEADERS + GOOD[:5] + HEADERS
    whole, stats = parse(stream)
    parser = Parser()
    packets = [packet for byte in stream for packet in parser.feed(bytes((byte,)))]
    assert packets == whole == [AccPacket.from_bytes(data) for data in (GOOD, HEADERS, HEADERS)]
    assert parser.stats == stats


def test_a_packet_comes_with_its_last_byte() -> None:
    parser = Parser()
    assert parser.feed(GOOD[:-1]) == []
    assert parser.pending == 10
    assert parser.feed(GOOD[-1:]) == [AccPacket.from_bytes(GOOD)]
    assert parser.pending == 0


def test_a_bad_checksum_costs_one_frame() -> None:
    broken = GOOD[:4] + b"\x02" + GOOD[5:]
    packets, stats = parse(GOOD + broken + HEADERS + GOOD)
    assert [packet.to_bytes() for packet in packets] == [GOOD, HEADERS, GOOD]
    assert stats == ParserStats({0x51: 3}, bad_checksums=1, skipped_bytes=11, bytes_in=44)


def test_a_good_frame_right_behind_a_false_header_is_kept() -> None:
    packets, stats = parse(b"\x55\x52\x00" + GOOD)
    assert [packet.to_bytes() for packet in packets] == [GOOD]
    assert (stats.bad_checksums, stats.skipped_bytes) == (1, 3)


def test_counters_tell_types_apart() -> None:
    time = TimePacket(24, 5, 17, 12, 34, 56, 789).to_bytes()
    _, stats = parse(time + GOOD + time + GyroPacket(1, 2, 3, 4).to_bytes() + GOOD[:7])
    assert stats.frames == {0x50: 2, 0x51: 1, 0x52: 1}
    assert (stats.frame_count, stats.skipped_bytes, stats.bytes_in) == (4, 7, 51)


def valid_windows(data: bytes) -> list[int]:
    """Where eleven bytes are a frame, by the definition and nothing else."""
    return [
        start
        for start in range(len(data) - 10)
        if data[start] == 0x55
        and data[start + 1] in STANDARD_PACKETS
        and sum(data[start : start + 10]) % 256 == data[start + 10]
    ]


@steady
@given(streams)
def test_every_good_frame_is_found_unless_an_earlier_one_overlaps_it(data: bytes) -> None:
    taken: list[int] = []
    for start in valid_windows(data):
        if not taken or start >= taken[-1] + 11:
            taken.append(start)
    packets, stats = parse(data)
    assert [packet.to_bytes() for packet in packets] == [data[at : at + 11] for at in taken]
    assert stats.skipped_bytes == len(data) - 11 * len(taken)


@steady
@given(
    st.lists(
        st.tuples(
            standard_frames(),
            st.binary(max_size=40).map(lambda noise: noise.replace(b"\x55", b"\x54")),
        ),
        max_size=10,
    )
)
def test_noise_without_a_header_byte_loses_nothing(pieces: list[tuple[bytes, bytes]]) -> None:
    packets, stats = parse(b"".join(frame + noise for frame, noise in pieces))
    assert [packet.to_bytes() for packet in packets] == [frame for frame, _ in pieces]
    assert stats.skipped_bytes == sum(len(noise) for _, noise in pieces)
    assert stats.bad_checksums == 0


@steady
@given(st.lists(standard_frames(), min_size=1, max_size=10), st.data())
def test_one_damaged_byte_costs_at_most_its_frame(frames: list[bytes], data: st.DataObject) -> None:
    stream = bytearray(b"".join(frames))
    at = data.draw(st.integers(0, len(stream) - 1))
    stream[at] ^= data.draw(st.integers(1, 255))
    damaged = at // 11
    good = {11 * number for number in range(len(frames)) if number != damaged}
    found = set(index_frames(bytes(stream), "standard").starts.tolist())
    by_chance = {start for start in found if start % 11}
    if not by_chance:
        assert good <= found
    # Damage that reads as a frame with a right checksum hides what it overlaps, no more.
    assert all(by_chance & set(range(start - 10, start)) for start in good - found)


@steady
@given(streams, st.sampled_from(VARIANTS), st.lists(st.integers(1, 60)), st.integers(1, 100))
def test_pieces_do_not_matter(
    data: bytes, variant: Variant, sizes: list[int], max_buffer: int
) -> None:
    whole, stats = parse(data, variant)
    parser = Parser(variant, max_buffer=max_buffer)
    packets: list[Packet] = []
    at = 0
    for size in [*sizes, len(data)]:
        packets += parser.feed(data[at : at + size])
        at += size
        assert parser.pending <= MOST_PENDING
    packets += parser.finish()
    assert packets == whole
    assert parser.stats == stats


@steady
@given(streams, st.sampled_from(VARIANTS))
def test_every_byte_is_accounted_for(data: bytes, variant: Variant) -> None:
    parser = Parser(variant)
    packets = parser.feed(data)
    used = sum(packet.LENGTH for packet in packets)
    assert parser.stats.skipped_bytes + used + parser.pending == parser.stats.bytes_in == len(data)
    used += sum(packet.LENGTH for packet in parser.finish())
    assert parser.stats.skipped_bytes + used == len(data)
    assert parser.pending == 0


@steady
@given(streams, st.sampled_from(VARIANTS))
def test_bulk_gives_the_parsers_frames_and_counters(data: bytes, variant: Variant) -> None:
    packets, stats = parse(data, variant)
    index = index_frames(data, variant)
    assert index.stats == stats
    assert [int(kind) for kind in index.types] == [packet.TYPE for packet in packets]
    ends = index.starts + [packet.LENGTH for packet in packets]
    frames = [data[a:b] for a, b in zip(index.starts, ends, strict=True)]
    assert frames == [packet.to_bytes() for packet in packets]


@pytest.mark.parametrize("variant", VARIANTS)
def test_bulk_equals_the_parser_on_a_long_damaged_stream(variant: Variant) -> None:
    random = Random(7)
    pieces = []
    for number in range(3000):
        payload = random.randbytes(18)
        if variant == "standard":
            body = bytes((0x55, 0x50 + number % 3)) + payload[:8]
            frame = body + bytes((sum(body) % 256,))
        elif variant == "combined20":
            frame = b"\x55\x61" + payload
        else:
            frame = b"\x55\x61" + payload + bytes((24, 5, 17, 12, 34, number % 60, 7, 1))
        kind = random.random()
        if kind < 0.05:
            frame = frame[: random.randrange(len(frame))]
        elif kind < 0.1:
            frame = random.randbytes(random.randrange(30)) + frame
        pieces.append(frame)
    data = b"".join(pieces)
    packets, stats = parse(data, variant)
    index = index_frames(data, variant)
    assert index.stats == stats
    assert stats.frame_count == len(packets) > 2500
    assert (stats.bad_checksums if variant == "standard" else stats.unconfirmed) > 50
    assert detect_variant(data) == variant


def test_combined_frames_wait_for_the_next_header() -> None:
    frame = CombinedPacket(*NINE).to_bytes()
    parser = Parser("combined20")
    assert parser.feed(frame) == []
    assert parser.feed(b"\x55") == []
    assert parser.feed(b"\x61") == [CombinedPacket(*NINE)]
    assert parser.feed(frame[2:]) == []
    assert parser.finish() == [CombinedPacket(*NINE)]


def test_a_register_reply_between_combined_frames() -> None:
    frame = CombinedPacket(*NINE).to_bytes()
    reply = RegisterReply71(0x02, (7, 0x0B, 6, 0, 0, 0, 0, 0))
    packets, stats = parse(frame + reply.to_bytes() + frame, "combined20")
    assert packets[1] == reply
    assert stats.frames == {0x61: 2, 0x71: 1}


@steady
@given(st.lists(calm_combined, min_size=3, max_size=8), st.data())
def test_lost_bytes_cost_the_torn_frame_only(frames: list[bytes], data: st.DataObject) -> None:
    torn = data.draw(st.integers(0, len(frames) - 2))
    first = data.draw(st.integers(2, 19))
    last = data.draw(st.integers(first + 1, 20))
    kept = frames[:torn] + frames[torn + 1 :]
    frames[torn] = frames[torn][:first] + frames[torn][last:]
    packets, stats = parse(b"".join(frames), "combined20")
    assert [packet.to_bytes() for packet in packets] == kept
    assert stats.unconfirmed == 1


@steady
@given(st.lists(calm_combined, min_size=3, max_size=8), st.data())
def test_a_damaged_header_costs_its_frame_only(frames: list[bytes], data: st.DataObject) -> None:
    damaged = data.draw(st.integers(0, len(frames) - 2))
    kept = frames[:damaged] + frames[damaged + 1 :]
    frames[damaged] = b"\x54" + frames[damaged][1:]
    packets, _ = parse(b"".join(frames), "combined20")
    assert [packet.to_bytes() for packet in packets] == kept


def test_an_impossible_clock_is_no_timed_frame() -> None:
    good = CombinedTimedPacket(*NINE, *CLOCK)
    bad = CombinedTimedPacket(*NINE, *IMPOSSIBLE)
    packets, stats = parse(good.to_bytes() + bad.to_bytes() + good.to_bytes(), "combined28")
    assert packets == [good, good]
    assert (stats.unconfirmed, stats.skipped_bytes) == (1, 28)


@pytest.mark.parametrize("variant", VARIANTS)
def test_content_tells_the_variant(variant: Variant) -> None:
    frames: dict[Variant, Packet] = {
        "standard": GyroPacket(1, 2, 3, 4),
        "combined20": CombinedPacket(*NINE),
        "combined28": CombinedTimedPacket(*NINE, *CLOCK),
    }
    frame = frames[variant].to_bytes()
    assert detect_variant(frame) == variant
    assert detect_variant(b"\x00" * 50_000 + frame * 100) == variant
    assert detect_variant(frame[5:] + frame * 3 + frame[:-3]) == variant


def test_noise_is_no_variant() -> None:
    assert detect_variant(b"") is None
    assert detect_variant(Random(1).randbytes(200_000)) is None


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="max_buffer"):
        Parser(max_buffer=0)
    with pytest.raises(ValueError, match="variant"):
        Parser("other")  # type: ignore[arg-type]


def test_frames_of_a_bulk_index_do_not_overlap() -> None:
    data = Random(3).randbytes(2000) + (HEADERS + GOOD) * 50
    starts = index_frames(data, "standard").starts.tolist()
    assert all(b - a >= 11 for a, b in pairwise(starts))
    assert len(starts) >= 100
