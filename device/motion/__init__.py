"""Gyroscope and accelerometer samples to camera poses."""
