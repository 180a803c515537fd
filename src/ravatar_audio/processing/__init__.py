"""What happens to sound between the ring and the turns, and behind them: echo cancellation, gain control.

Knows neither devices nor the platform.
"""

from ravatar_audio.processing.canceller import Canceller, EchoStatistics, LinearCanceller
from ravatar_audio.processing.gain import GainControl
from ravatar_audio.processing.memory import EchoMemory
from ravatar_audio.processing.placing import PlacedReference, PlacingStatistics
from ravatar_audio.processing.voice import VoiceSource, VoiceStatistics

__all__ = [
    "Canceller",
    "EchoMemory",
    "EchoStatistics",
    "GainControl",
    "LinearCanceller",
    "PlacedReference",
    "PlacingStatistics",
    "VoiceSource",
    "VoiceStatistics",
]
