"""Importers: real photographs with their gyroscope recordings, made into capture bundles.

One module a recording format. What such a recording leaves unsaid (axes, time shift, line time)
was measured on the recordings themselves; each module says how, and what its constants rest on.
"""
