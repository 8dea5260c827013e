"""Measurements of this package beside the published one, on one router and in one run: `python -m benchmarks`."""
