"""What the avatar answers, played on a loudspeaker.

decoding   any sound file or reply as samples of the speaker's rate
speaker    a loudspeaker: PortAudio's, or one of the program's own
player     Player: one answer after the other, and an end to them when the visitor begins to speak
"""

from ravatar_audio.playback.player import Played, Player, PlayerStatistics
from ravatar_audio.playback.speaker import Loudspeaker, PortAudioLoudspeaker

__all__ = ["Loudspeaker", "Played", "Player", "PlayerStatistics", "PortAudioLoudspeaker"]
