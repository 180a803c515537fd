"""How much of the avatar's echo goes, and how much of a visitor who talks over it? Ours beside WebRTC's and Speex's.

Scenes of one minute, made on the spot of synthesized and recorded speech in generated rooms (echo_scenes.py): the set
"report", which shares no voice, room or music with the set "tune" that parameters were chosen by. The reference is
aligned: what cancellers can do by themselves. "Heard" is the share of the visitor's speech that the neural detector
takes for speech while both talk; false turns are those that a gate with the default rules begins where only the avatar
talks. "Gone" steps are 32 ms of the visitor that are down by more than 10 dB.
"""

import argparse
import contextlib
import dataclasses
import multiprocessing
import os
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from ravatar_audio.energy import EnergyDetector
from ravatar_audio.frames import FRAME_SAMPLES
from ravatar_audio.native import Chain
from ravatar_audio.processing import LinearCanceller, PlacedReference
from ravatar_audio.turns import Detector, Gate, TurnEvent, TurnEventKind, TurnRules
from ravatar_audio.turns.neural import NeuralDetector

from .echo_contenders import CONTENDERS
from .echo_measure import HOP, Outcome, outcome, powers
from .echo_scenes import AGAIN_S, BASE, BOTH_S, CHANGES, DRIFTS, FAR_S, JUMP_S, SCENES, Pcm, Scene, Take, take
from .echo_sounds import RATE_HZ
from .rig.harness import Missing, Report, median, progress, running

GONE_DB = {
    "base": 35.0,
    "rt60_s 0.2": 30.0,
    "rt60_s 0.6": 28.0,
    "echo_db 12.0": 32.0,
    "echo_db -12.0": 22.0,
    "delay_ms 20.0": 28.0,
    "delay_ms 120.0": 28.0,
    "delay_ms 250.0": 28.0,
    "avatar 3": 30.0,
}
"""Goals for the echo gone in seconds 10 to 20."""
VOICE = {"base": (1.2, 4.0), "echo_db 12.0": (2.5, 12.0)}
"""Goals for the visitor's voice lost while both talk (dB), and for the steps gone (%)."""
BEYOND_REACH = ("delay_ms 250.0",)
"""With the room's reverberation longer than the filters; counted where the reference is placed."""
QUICK = ("base", "echo_db 12.0", "speaker hard")


@dataclasses.dataclass(frozen=True)
class Judged:
    outcome: Outcome
    heard: float
    false_energy: int
    false_neural: int
    pesq: float | None
    stoi: float | None


class Tapped:
    """A detector that keeps what it said."""

    def __init__(self, inner: Detector) -> None:
        self.inner, self.step_samples, self.said = inner, inner.step_samples, list[bool]()

    def feed(self, pcm: bytes) -> list[bool]:
        said = list(self.inner.feed(pcm))
        self.said += said
        return said

    def skip(self) -> None:
        self.inner.skip()


def turns_of(out: Pcm, detector: Detector) -> list[int]:
    """Where a gate with the default rules begins a turn, in samples; without the pre-roll."""
    gate = Gate("vad", TurnRules(), detector=detector)
    with Chain(rate_hz=RATE_HZ, capacity_frames=len(out) // FRAME_SAMPLES + 2) as chain:
        chain.push(out.tobytes(), 0.0)
        chain.finish()
        outcomes = [each for frame in chain.take_all() for each in gate.feed(frame)] + gate.finish()
    preroll = round(TurnRules().pre_roll_ms * RATE_HZ / 1000)
    return [
        each.position_samples + preroll
        for each in outcomes
        if isinstance(each, TurnEvent) and each.kind is TurnEventKind.STARTED
    ]


def quality(scene: Take, out: Pcm) -> tuple[float | None, float | None]:
    """PESQ (wide band) and STOI of the visitor while both talk; None without the package."""
    both = slice(BOTH_S[0] * RATE_HZ, BOTH_S[1] * RATE_HZ)
    near, kept = scene.near[both].astype(np.float32), (out[both] / 32_768).astype(np.float32)
    pesq_mos = stoi_share = None
    with contextlib.suppress(ImportError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pesq import PesqError, pesq

        mos = float(pesq(RATE_HZ, near, kept, "wb", on_error=PesqError.RETURN_VALUES))
        pesq_mos = mos if mos >= 1.0 else 1.0  # it gives up on what it takes for no speech at all
    with contextlib.suppress(ImportError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pystoi import stoi

        stoi_share = float(stoi(near, kept, RATE_HZ))
    return pesq_mos, stoi_share


def judged(scene: Take, out: Pcm) -> Judged:
    found = outcome(scene, out)
    neural = Tapped(NeuralDetector())
    starts = {"energy": turns_of(found.out, EnergyDetector()), "neural": turns_of(found.out, neural)}
    said = np.repeat(np.array(neural.said, bool), neural.step_samples)
    near = powers(scene.near)
    voice = np.repeat(near > near.max() * 1e-3, HOP)
    length = min(len(said), len(voice))
    both = np.zeros(length, bool)
    both[BOTH_S[0] * RATE_HZ : BOTH_S[1] * RATE_HZ] = True
    alone = [(2 * RATE_HZ, FAR_S[1] * RATE_HZ), (AGAIN_S[0] * RATE_HZ + 4_800, AGAIN_S[1] * RATE_HZ)]
    false = {
        name: sum(any(begin <= start < end for begin, end in alone) for start in found_starts)
        for name, found_starts in starts.items()
    }
    pesq_mos, stoi_share = quality(scene, found.out)
    heard = float(said[:length][both & voice[:length]].mean())
    return Judged(found, heard, false["energy"], false["neural"], pesq_mos, stoi_share)


def one(job: tuple[str, Scene, str]) -> Judged:
    name, scene, which = job
    sound = take(scene, which)
    return judged(sound, CONTENDERS[name]()(sound.microphone, sound.reference))


def placed(job: tuple[Scene, str]) -> tuple[Outcome, list[float], int]:
    """Ours behind a reference that is placed by the sounds: how it did, the ratio by frames (ppm), moves."""
    scene, which = job
    sound = take(scene, which)
    reference = PlacedReference(LinearCanceller(), -480)  # 30 ms early, so that a slow clock does not run out of it
    parts, ppm = [], []
    for at in range(0, len(sound.microphone) // HOP * HOP, FRAME_SAMPLES):
        cut = slice(at, min(at + FRAME_SAMPLES, len(sound.microphone) // HOP * HOP))
        reference.push(sound.reference[cut].tobytes())
        parts.append(reference.process(sound.microphone[cut].tobytes()))
        ppm.append(reference.statistics().reference_ppm)
    return outcome(sound, np.frombuffer(b"".join(parts), "<i2")), ppm, reference.statistics().moves


def report_placed(report: Report, pool: ProcessPoolExecutor, which: str) -> None:
    """Clocks that differ, delays that a filter does not reach; what matters is found by the sounds alone."""
    scenes = (*DRIFTS, *(dataclasses.replace(BASE, delay_ms=delay) for delay in (250.0, 400.0)))
    for scene, (found, ppm, moves) in zip(scenes, pool.map(placed, [(s, which) for s in scenes]), strict=True):
        off = [abs(value + scene.ppm) for value in ppm]
        frame_s = FRAME_SAMPLES / RATE_HZ
        name = f"ours, placed: {scene.name}"
        if scene.ppm:
            settled_s = frame_s * (1 + max((at for at, value in enumerate(off) if value > 2.0), default=-1))
            report.at_most(f"{name}: within 2 ppm after", settled_s, "s", 15.0)
            report.at_most(f"{name}: off after a minute", off[-1], "ppm", 0.5)
        report.at_least(f"{name}: echo gone, seconds 50 to 60", found.again_db, "dB", 30.0)
        report.at_most(f"{name}: seconds below 20 dB", sum(db < 20 for db in found.by_second_db), "s")
        report.at_most(f"{name}: moves", moves, "")


def back_s(by_second_db: tuple[float, ...], least_db: float) -> float:
    """Whole seconds after JUMP_S until it holds; as long as there are when it never does."""
    behind = by_second_db[JUMP_S:]
    return float(next((at for at, db in enumerate(behind) if db >= least_db), len(behind)))


def cpu_us(make: Callable[[], Callable[[Pcm, Pcm], Pcm]], scene: Take, repeats: int) -> list[float]:
    """Processor time for 10 ms of sound, in microseconds, once for each repeat."""
    part = slice(0, 10 * RATE_HZ)
    values = []
    for _ in range(repeats):
        process = make()
        began_s = time.process_time()
        process(scene.microphone[part], scene.reference[part])
        values.append((time.process_time() - began_s) / 1_000 * 1e6)
    return values


def present(report: Report) -> Iterator[str]:
    for name, make in CONTENDERS.items():
        try:
            make()
        except Missing as missing:
            report.lacks(name, str(missing))
        else:
            yield name


def bench(report: Report, options: argparse.Namespace) -> None:
    scenes = [scene for scene in SCENES if not options.quick or scene.name in QUICK]
    names = list(present(report))
    base = take(BASE, options.set)
    for name in names:
        values = cpu_us(CONTENDERS[name], base, 3 if options.quick else 9)
        goal = 30.0 if name == "ours" else None
        report.at_most(f"{name}: processor time for 10 ms", median(values), "us", goal, values)
    jobs = [(name, scene, options.set) for scene in (*scenes, *CHANGES) for name in names]
    results: dict[tuple[str, str], Judged] = {}
    # livekit does not live through a fork
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        for (name, scene, _), result in zip(jobs, pool.map(one, jobs), strict=True):
            results[name, scene.name] = result
            progress(len(results) / len(jobs), f"{scene.name}: {name}")
        if not options.quick:
            report_placed(report, pool, options.set)
    for name in names:
        of = {scene.name: results[name, scene.name] for scene in scenes}
        is_ours = name == "ours"
        for title, result in of.items():
            found, (most_db, most_gone) = result.outcome, VOICE.get(title, (None, None)) if is_ours else (None, None)
            least_db = GONE_DB.get(title) if is_ours else None
            report.at_least(f"{name}: {title}: echo gone", found.gone_db, "dB", least_db)
            report.at_least(f"{name}: {title}: echo gone, worst second", min(found.by_second_db[1:]), "dB")
            report.at_most(f"{name}: {title}: voice lost", found.voice_lost_db, "dB", most_db)
            report.at_most(f"{name}: {title}: steps gone", 100 * found.steps_gone, "%", most_gone)
            report.at_least(f"{name}: {title}: heard", 100 * result.heard, "%", 92.0 if is_ours else None)
            report.at_most(f"{name}: {title}: false turns, energy", result.false_energy, "")
            report.at_most(f"{name}: {title}: false turns, neural", result.false_neural, "")
        base_outcome = results[name, "base"].outcome
        report.at_least(f"{name}: base: first second", base_outcome.first_db, "dB", 25.0 if is_ours else None)
        report.at_most(f"{name}: lag", base_outcome.lag_samples / 16, "ms", 16.0 if is_ours else None)
        reached = [result for title, result in of.items() if title not in BEYOND_REACH]
        minutes = len(reached) * 27.7 / 60
        for kind, most in (("energy", 0.0), ("neural", 1.0)):
            count = sum(getattr(result, f"false_{kind}") for result in reached)
            limit = most if is_ours else None
            report.at_most(f"{name}: false turns in ten minutes, {kind}", count / minutes * 10, "", limit)
        for scene_of in CHANGES:
            back = back_s(results[name, scene_of.name].outcome.by_second_db, 20.0)
            report.at_most(f"{name}: {scene_of.name}: back at 20 dB", back, "s", 1.5 if is_ours else None)
        for what, unit, least in (("pesq", "MOS", 1.0), ("stoi", "", 0.35)):
            value = getattr(of["base"], what)
            other = getattr(results.get(("pywebrtc-audio", "base")), what, None)
            if value is None:
                continue
            report.at_least(f"{name}: base: {what.upper()} while both talk", value, unit)
            if is_ours and other is not None:
                report.at_least(f"ours: base: {what.upper()} above AEC3's", value - other, unit, least)
    for what, part in (("Echo gone, dB", "gone_db"), ("Visitor's voice lost while both talk, dB", "voice_lost_db")):
        sides = {name: getattr(results[name, "base"].outcome, part) for name in names}
        report.comparison(f"{what}: base scene", sides, "dB")
    if results[names[0], "base"].pesq is None:
        report.lacks("PESQ, STOI", "needs: pip install pesq pystoi")
    report.at_most("ours: memory", LinearCanceller().memory_bytes / 1024, "KB", 300.0)
    report.note(
        f"set '{options.set}'; a change's figure is in whole seconds; the reference is aligned but where it is 'placed'"
    )


def extend(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set", choices=("report", "tune"), default="report", help="voices, rooms, music; 'tune' is for development"
    )


def main() -> None:
    with running("echo", __doc__, extend) as (report, options):
        bench(report, options)


if __name__ == "__main__":
    main()
