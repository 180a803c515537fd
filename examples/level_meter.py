"""Frames alone, without a platform: their levels, and what was lost before them."""

import sys

from ravatar_audio.blocking import Settings, open_source

with open_source(Settings.load(), *sys.argv[1:]) as source:
    for frame in source:
        lost_samples = frame.ring_lost_samples + frame.device_lost_samples
        print(f"{frame.captured_at:%H:%M:%S} {frame.rms_dbfs:6.1f} dBFS, {lost_samples} samples lost before it")
