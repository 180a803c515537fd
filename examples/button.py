"""Push-to-talk by a button that has a thread of its own, as gpiozero's `when_pressed` and `when_released` have."""

import sys
import threading

from ravatar_audio.blocking import LiveSession, Reply, Settings

with LiveSession.open(Settings.load(mode="ptt"), *sys.argv[1:]) as live:
    threading.Timer(0.5, live.turns.press).start()  # button.when_pressed = live.turns.press
    threading.Timer(2.0, live.turns.release).start()  # button.when_released = live.turns.release
    for event in live.events():
        if isinstance(event, Reply):
            print(event.text)
            break
