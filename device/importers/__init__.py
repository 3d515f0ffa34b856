"""Recordings of other people's cameras to capture bundles."""
