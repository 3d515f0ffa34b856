"""What `stillpi demo` shows: a real photograph restored, and a simulated camera shaken."""
