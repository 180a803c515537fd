"""Turns without clipped words: a gate moved over sound that is already there.

A gate is a pure state machine: frames of a capture in, turns out. It does no I/O, waits for nothing and has no clock;
times come from the caller. Give it frames of any length, in order, and what happens:

    gate = Gate("ptt")
    for outcome in gate.feed(frame):      # a Frame to be sent, or a TurnEvent
        ...
    gate.press(now_s), gate.release(now_s), gate.mute(now_s), gate.set_mode("vad", now_s), ...
    chain.flush_at(gate.flush_at)         # after each of these: the last frame of a turn is not waited for

- A turn's frames begin exactly at the turn's start, pre-roll included, and have 4,096 samples each; the last, and the
  one before a gap, are shorter: zeros follow behind `length_samples`. `STARTED` comes before them, `ENDED`, `CAPPED` or
  `CANCELLED` after them; what is between two events belongs to that turn.
- Turns are disjoint and in order, and each sample fed is given out once, or gated, or pending (`statistics()`).
- Sound decides, not its packing: turns are the same however the capture cuts its frames. `flush_at` only brings
  forward when they are known: the caller is woken once a frame (256 ms), yet the end of a turn, a press that has been
  held long enough or a hangover that is over are known one device block later, as the audio thread ends its frame
  there. Where speech begins a turn, frames are ended every 64 ms to listen; the first word is in the pre-roll.
- The key is the button (push-to-talk), the detector's speech (voice activity) or always down (open microphone).
  Pre-roll, shortest press, tail, hangover and caps are TurnRules.

    events.py         TurnMode, TurnEvent and its kinds
    rules.py          TurnRules
    machine.py        when a turn is open: one key, and samples that pass
    talk_key.py       what presses the key: button, voice, mute, mode, the avatar
    speech_edges.py   where speech begins and ends; Detector, the interface of voice activity detection
    sample_buffer.py  sound kept, read to the sample
    gate.py           Gate: all of it together; statistics.py has its counters
    neural.py         NeuralDetector, with the extra "vad"; the energy detector is the core's (ravatar_audio.energy)
    recording.py      Recording: a turn as a WAV or WebM file
"""

from typing import TYPE_CHECKING

from ravatar_audio.deprecation import renamed_names
from ravatar_audio.turns.events import Reason, TurnEvent, TurnEventKind, TurnMode
from ravatar_audio.turns.gate import Gate, Outcome
from ravatar_audio.turns.recording import Recording
from ravatar_audio.turns.rules import Timing, TurnRules
from ravatar_audio.turns.speech_edges import Detector
from ravatar_audio.turns.statistics import GateStatistics

__all__ = [
    "Detector",
    "Gate",
    "GateStatistics",
    "Outcome",
    "Reason",
    "Recording",
    "Timing",
    "TurnEvent",
    "TurnEventKind",
    "TurnMode",
    "TurnRules",
]

if not TYPE_CHECKING:
    __getattr__ = renamed_names(__name__, {"EventKind": "TurnEventKind", "Mode": "TurnMode"}, globals().__getitem__)
