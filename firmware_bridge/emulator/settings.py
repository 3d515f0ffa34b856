"""The register file of an emulated WT901: locked until unlocked, forgetful until saved.

A write changes the value that is read back at once. SAVE copies the settings to flash; a restart
loads them from flash. Rate and baud are only looked at when the sensor starts (`at_start`).
"""

from __future__ import annotations

from collections.abc import Mapping

from firmware_bridge.registers import (
    FACTORY_SETTINGS,
    UNLOCK_KEY,
    UNLOCK_VALID_S,
    Register,
    SaveAction,
)

EMULATED_SETTINGS: Mapping[int, int] = {
    **{int(register): value for register, value in FACTORY_SETTINGS.items()},
    Register.GYRO_STILL_THRESHOLD: 50,  # 0.05 deg/s: what the register starts from is not known
}
_VOLATILE = frozenset({Register.SAVE, Register.READADDR, Register.KEY})
_CLOCK = frozenset({Register.YYMM, Register.DDHH, Register.MMSS, Register.MS})


class RegisterFile:
    """Settings, what of them is saved, and the lock.

    settings : values in flash when the sensor is first powered, on top of the factory's.
    """

    def __init__(self, settings: Mapping[int, int] | None = None) -> None:
        self._flash: dict[int, int] = {**EMULATED_SETTINGS, **(settings or {})}
        self._values = dict(self._flash)
        self._at_start = dict(self._flash)
        self._unlocked_until_s = float("-inf")

    def __getitem__(self, register: int) -> int:
        """The value a read returns; registers that were never set read 0."""
        return self._values.get(register, 0)

    def at_start(self, register: int) -> int:
        """The value with which the sensor started: what holds for rate and baud."""
        return self._at_start.get(register, 0)

    def restart(self) -> None:
        """Load the saved settings and lock again."""
        self._values = dict(self._flash)
        self._at_start = dict(self._flash)
        self._unlocked_until_s = float("-inf")

    def write(self, register: int, value: int, now_s: float) -> bool:
        """Take a write command; False when the lock kept it out.

        SAVE and FACTORY act on the settings here; a restart is the caller's to do.
        """
        if register == Register.KEY:
            unlocked = value == UNLOCK_KEY
            self._unlocked_until_s = now_s + UNLOCK_VALID_S if unlocked else float("-inf")
            return unlocked
        if now_s > self._unlocked_until_s:
            return False
        if register == Register.SAVE:
            if value == SaveAction.SAVE:
                self._flash = dict(self._values)
            elif value == SaveAction.FACTORY:
                self._flash = dict(EMULATED_SETTINGS)
        elif register not in _VOLATILE and register not in _CLOCK:
            self._values[register] = value
        return True
