"""Is the time known? The kernel's own answer, asked in two ways, and what is made of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from device.service.clock import OnceKnown

ASK = """\
import ctypes, struct
from device.service.clock import kernel_is_synchronised
{forbid}
timex = ctypes.create_string_buffer(256)
answer = ctypes.CDLL(None).adjtimex(timex)
print(answer, struct.unpack_from("i", timex, 40)[0], kernel_is_synchronised())
"""
STA_UNSYNC = 0x40

# seccomp as systemd's filter does it: every adjtimex and clock_adjtime is EPERM (x86-64, aarch64).
FORBID = """
import platform
from ctypes import c_long
class Filter(ctypes.Structure):
    _fields_ = [("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte),
                ("k", ctypes.c_uint)]
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.POINTER(Filter))]
a, b = {"x86_64": (159, 305), "aarch64": (171, 266)}[platform.machine()]
code = (Filter * 5)((0x20, 0, 0, 0), (0x15, 2, 0, a), (0x15, 1, 0, b),
                    (0x06, 0, 0, 0x7FFF0000), (0x06, 0, 0, 0x00050001))
libc = ctypes.CDLL(None)
assert libc.prctl(38, c_long(1), c_long(0), c_long(0), c_long(0)) == 0
program = Program(5, code)
assert libc.prctl(22, c_long(2), ctypes.byref(program), c_long(0), c_long(0)) == 0
"""


def ask(forbid: str = "") -> tuple[int, int, bool]:
    """adjtimex's answer, the status it wrote, and what is made of it, in a process of its own."""
    command = [sys.executable, "-c", ASK.format(forbid=forbid)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    answer, status, known = done.stdout.split()
    return int(answer), int(status), known == "True"


def test_the_kernels_answer_is_the_one_in_its_status() -> None:
    answer, status, known = ask()
    if answer < 0:
        pytest.skip("the kernel may not be asked here")
    assert known is (status & STA_UNSYNC == 0)


def test_a_kernel_that_may_not_be_asked_is_one_that_does_not_know() -> None:
    answer, _, known = ask(FORBID)
    assert (answer, known) == (-1, False)


def test_what_was_known_once_stays_known() -> None:
    """Hours without a network: the kernel says no again, the date is right all the same."""
    answers = iter([False, False, True])
    known = OnceKnown(lambda: next(answers))
    assert [known() for _ in range(5)] == [False, False, True, True, True]
