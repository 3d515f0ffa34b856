"""Cameras: the Protocol, picamera2, the twin, replay, and the timing of a frame."""
