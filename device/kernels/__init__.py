"""Poses to the path of light at every pixel, and what follows from it."""
