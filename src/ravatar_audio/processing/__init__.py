"""What happens to sound between the ring and the turns: echo cancellation. Knows neither devices nor the platform."""

from ravatar_audio.processing.canceller import Canceller, EchoStatistics, LinearCanceller
from ravatar_audio.processing.placing import PlacedReference, PlacingStatistics
from ravatar_audio.processing.voice import VoiceSource, VoiceStatistics

__all__ = [
    "Canceller",
    "EchoStatistics",
    "LinearCanceller",
    "PlacedReference",
    "PlacingStatistics",
    "VoiceSource",
    "VoiceStatistics",
]
