"""The WT901 driver: bytes to timed samples, over a serial line or I2C; and an emulated WT901."""
