"""What stands in for a microphone: files, pipes, generated sound.

opening     which source the user means by "mic", "-", a path, "synthetic:speech"
file        a sound file                      pipe        PCM or WAV from another program
push        the program's own sound
synthetic   generated sound (signals)         paced       what files and generated sound have in common
prepared    utterances converted once, for thousands of simulated clients on one clock
reader      a sound file's samples            regular_file    read, and watched for whoever writes to it
compressed  the only module that decodes with PyAV
wav, g711   the only WAV parser (pure)        sniff       what a stream of bytes begins as (pure)
"""

from ravatar_audio.capture.sources.file import FileSource
from ravatar_audio.capture.sources.open_source import open_source
from ravatar_audio.capture.sources.paced import PacedSource
from ravatar_audio.capture.sources.pipe import PipeSource
from ravatar_audio.capture.sources.push import PushSource
from ravatar_audio.capture.sources.synthetic import SyntheticSource

__all__ = ["FileSource", "PacedSource", "PipeSource", "PushSource", "SyntheticSource", "open_source"]
