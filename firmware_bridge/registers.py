"""The WT901's register map and the meaning of the values its settings take."""

from __future__ import annotations

from enum import IntEnum, IntFlag
from types import MappingProxyType
from typing import Final


class Register(IntEnum):
    """Addresses, named as the vendor names them."""

    SAVE = 0x00
    CALSW = 0x01
    RSW = 0x02
    RRATE = 0x03
    BAUD = 0x04
    IICADDR = 0x1A
    BANDWIDTH = 0x1F
    ORIENT = 0x23
    AXIS6 = 0x24
    READADDR = 0x27
    YYMM = 0x30
    DDHH = 0x31
    MMSS = 0x32
    MS = 0x33
    AX = 0x34
    AY = 0x35
    AZ = 0x36
    GX = 0x37
    GY = 0x38
    GZ = 0x39
    HX = 0x3A
    HY = 0x3B
    HZ = 0x3C
    ROLL = 0x3D
    PITCH = 0x3E
    YAW = 0x3F
    TEMP = 0x40
    Q0 = 0x51
    Q1 = 0x52
    Q2 = 0x53
    Q3 = 0x54
    GYRO_STILL_THRESHOLD = 0x61
    GYRO_AUTO_CAL_MS = 0x63
    KEY = 0x69


class SaveAction(IntEnum):
    """Values of SAVE: keep the settings, forget them all, or restart."""

    SAVE = 0x0000
    FACTORY = 0x0001
    REBOOT = 0x00FF


class Calibration(IntEnum):
    """Values of CALSW."""

    END = 0
    GYRO_AND_ACC = 1
    MAG = 2
    YAW_ZERO = 4
    MAG_DUAL_PLANE = 7
    REFERENCE_ANGLE = 8


class ReturnContent(IntFlag):
    """Bits of RSW: which packets a cycle holds. Bit n asks for packet type 0x50 + n."""

    TIME = 1 << 0
    ACC = 1 << 1
    GYRO = 1 << 2
    ANGLE = 1 << 3
    MAG = 1 << 4
    PORT = 1 << 5
    PRESSURE = 1 << 6
    GPS = 1 << 7
    VELOCITY = 1 << 8
    QUATERNION = 1 << 9
    GPS_ACCURACY = 1 << 10

    @property
    def packet_types(self) -> tuple[int, ...]:
        """Packet types of one cycle, in the order they are sent."""
        return tuple(0x50 + bit for bit in range(11) if self & (1 << bit))

    @property
    def cycle_bytes(self) -> int:
        """Bytes on the wire for one sample."""
        return 11 * len(self.packet_types)


class ReturnRate(IntEnum):
    """Values of RRATE."""

    HZ_1 = 0x03
    HZ_2 = 0x04
    HZ_5 = 0x05
    HZ_10 = 0x06
    HZ_20 = 0x07
    HZ_50 = 0x08
    HZ_100 = 0x09
    HZ_200 = 0x0B
    ONCE = 0x0C
    OFF = 0x0D

    @property
    def hz(self) -> float:
        """Samples a second; 0 for ONCE and OFF, which stream nothing."""
        return _RATE_HZ.get(self, 0.0)


class Baud(IntEnum):
    """Values of BAUD."""

    BAUD_9600 = 2
    BAUD_19200 = 3
    BAUD_38400 = 4
    BAUD_57600 = 5
    BAUD_115200 = 6
    BAUD_230400 = 7
    BAUD_460800 = 8
    BAUD_921600 = 9

    @property
    def bits_per_s(self) -> int:
        """The line's rate; a byte takes ten bits (8N1)."""
        return _BITS_PER_S[self]


class Bandwidth(IntEnum):
    """Values of BANDWIDTH: the gyroscope's low-pass."""

    HZ_256 = 0
    HZ_188 = 1
    HZ_98 = 2
    HZ_42 = 3
    HZ_20 = 4
    HZ_10 = 5
    HZ_5 = 6

    @property
    def hz(self) -> float:
        """Cut-off frequency."""
        return float((256, 188, 98, 42, 20, 10, 5)[self])


_RATE_HZ: Final = MappingProxyType(
    {
        ReturnRate.HZ_1: 1.0,
        ReturnRate.HZ_2: 2.0,
        ReturnRate.HZ_5: 5.0,
        ReturnRate.HZ_10: 10.0,
        ReturnRate.HZ_20: 20.0,
        ReturnRate.HZ_50: 50.0,
        ReturnRate.HZ_100: 100.0,
        ReturnRate.HZ_200: 200.0,
    }
)
_BITS_PER_S: Final = MappingProxyType(
    {
        Baud.BAUD_9600: 9600,
        Baud.BAUD_19200: 19200,
        Baud.BAUD_38400: 38400,
        Baud.BAUD_57600: 57600,
        Baud.BAUD_115200: 115200,
        Baud.BAUD_230400: 230400,
        Baud.BAUD_460800: 460800,
        Baud.BAUD_921600: 921600,
    }
)

UNLOCK_KEY: Final = 0xB588
"""What KEY must be set to before a setting is taken."""

UNLOCK_VALID_S: Final = 10.0
"""How long the sensor stays unlocked."""

FACTORY_SETTINGS: Final = MappingProxyType(
    {
        Register.RSW: 0x001E,
        Register.RRATE: int(ReturnRate.HZ_10),
        Register.BAUD: int(Baud.BAUD_9600),
        Register.IICADDR: 0x50,
        Register.BANDWIDTH: int(Bandwidth.HZ_20),
        Register.ORIENT: 0,
        Register.AXIS6: 0,
        Register.GYRO_AUTO_CAL_MS: 1000,
    }
)
"""Settings of a sensor as it is sold, as far as they are known."""


def needed_bits_per_s(content: ReturnContent, rate_hz: float) -> float:
    """Line rate a stream needs; a sensor on a slower line silently lowers its rate.

    >>> needed_bits_per_s(ReturnContent.TIME | ReturnContent.ACC | ReturnContent.GYRO, 200.0)
    66000.0
    """
    return 10 * content.cycle_bytes * rate_hz
