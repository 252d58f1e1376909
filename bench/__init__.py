"""Benchmarks with a stated method: see README.md beside this file."""
