"""Benches: one file per question, each run as `python -m benches.NAME`. README.md has the method."""
