"""Everything that runs on the Pi: capture, motion, kernel field, restoration, output."""
