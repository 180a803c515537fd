"""Records numbered frames in real time until it is killed; says the number of each as soon as it has been noted."""

import sys
import time

from ravatar_audio.observe.recorder.recorder import FlightRecorder
from ravatar_audio.settings import Settings

from ..frames import make_frame


def main() -> None:
    with FlightRecorder(Settings(record=sys.argv[1])) as recorder:
        hears = recorder.for_session()
        due_s = time.monotonic()
        for seq in range(10_000):
            due_s += 0.256
            time.sleep(max(0.0, due_s - time.monotonic()))
            hears.captured(make_frame(seq))
            print(seq, time.time_ns(), flush=True)


if __name__ == "__main__":
    main()
