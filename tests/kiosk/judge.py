"""What the platform inside heard, to the sample: python3 judge.py FILE.wav prints JSON.

The microphone's signal is a ramp: each sample is the one before plus 1, modulo 65,536. Where it is not is a jump, and
what is missing there is known, modulo 65,536 as well.
"""

import array
import json
import sys
from pathlib import Path

WRAP = 65_536


def jumps(samples: "array.array[int]") -> list[tuple[int, int]]:
    """Where a sample does not follow the one before it, and how many are missing there."""
    return [
        (number, (samples[number] - samples[number - 1] - 1) % WRAP)
        for number in range(1, len(samples))
        if (samples[number] - samples[number - 1]) % WRAP != 1
    ]


def read(path: Path) -> "array.array[int]":
    """The samples of a WAV file that is still being written: its header does not count."""
    data = path.read_bytes()[44:]
    samples = array.array("h")
    samples.frombytes(data[: len(data) // 2 * 2])
    return samples


if __name__ == "__main__":
    heard = read(Path(sys.argv[1]))
    print(json.dumps({"samples": len(heard), "jumps": jumps(heard)}))
