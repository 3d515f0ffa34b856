"""A trained checkpoint to a verified, quantised model bundle, and to the Pi."""
