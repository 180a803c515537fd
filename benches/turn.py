"""How soon a turn's end is known: from the release (or the last word) to its last message, ready to be sent.

A capture at 16 kHz in blocks of 10 ms runs through the real chain and a gate on a simulated clock that their work does
not move on, so the figures are the design's own, without scheduling, network or device. Each is measured at many phases
of the release against blocks and frames. `full frame` is the same without Gate.flush_at: what waiting for 256 ms costs.
"""

import time
from collections.abc import Iterator

import numpy as np

from ravatar_audio.energy import EnergyDetector
from ravatar_audio.frames import FRAME_SAMPLES, RATE_HZ, Frame
from ravatar_audio.native import Chain
from ravatar_audio.turns import EventKind, Gate, Mode, Outcome, TurnEvent, TurnRules

from .harness import Report, arguments, median, percentile

BLOCK_SAMPLES = 160
BLOCK_S = BLOCK_SAMPLES / RATE_HZ
RULES = TurnRules()
HELD_SAMPLES = 40_000


def ends(mode: Mode, press: int, *, early: bool) -> tuple[float, float]:
    """When the turn's first frame and its end are known, in seconds after the press and after the release."""
    gate = Gate(mode, RULES, detector=EnergyDetector(margin_db=0.0))
    release = press + HELD_SAMPLES
    rng = np.random.default_rng(press)
    sound = rng.normal(0, 30, release + RATE_HZ * 2).astype(np.int16)
    sound[press:release] = rng.normal(0, 3_000, release - press)
    controls = [(press, gate.press), (release, gate.release)] if mode is Mode.PTT else []
    first_s = None
    with Chain(rate_hz=RATE_HZ, capacity_frames=64) as chain:
        for end in range(BLOCK_SAMPLES, len(sound), BLOCK_SAMPLES):
            now_s = end / RATE_HZ
            while controls and controls[0][0] <= end:
                position, tell = controls.pop(0)
                tell(position / RATE_HZ)
                if early:
                    chain.flush_at(gate.flush_at)
            chain.push(sound[end - BLOCK_SAMPLES : end].tobytes(), now_s)
            for outcome in fed(gate, chain, early=early):
                if isinstance(outcome, Frame) and first_s is None:
                    first_s = now_s - press / RATE_HZ
                if isinstance(outcome, TurnEvent) and outcome.kind is EventKind.ENDED:
                    assert first_s is not None
                    return first_s, now_s - release / RATE_HZ
    raise AssertionError("the turn did not end")


def fed(gate: Gate, chain: Chain, *, early: bool) -> Iterator[Outcome]:
    for frame in chain.take_all():
        yield from gate.feed(frame)
    if early:
        chain.flush_at(gate.flush_at)


def cost_s(mode: Mode, *, in_step: bool) -> float:
    """Time that a gate takes for one frame of an open turn."""
    with Chain(rate_hz=RATE_HZ, capacity_frames=1_024) as chain:
        chain.push(np.random.default_rng(0).normal(0, 3_000, 1_000 * FRAME_SAMPLES).astype(np.int16).tobytes(), 256.0)
        frames = list(chain.take_all())
    gate = Gate(mode, TurnRules(press_cap_ms=None))
    press = 0 if in_step else 100
    gate.feed(frames[0])
    gate.press(frames[1].captured_s - (FRAME_SAMPLES - press - 1) / RATE_HZ)
    begin = time.perf_counter()
    for frame in frames[1:]:
        gate.feed(frame)
        gate.flush_at  # noqa: B018 - a caller asks for it
    return (time.perf_counter() - begin) / len(frames[1:])


def main() -> None:
    options = arguments("turn", __doc__)
    report = Report("turn")
    step = 997 if options.quick else 61
    presses = range(2 * FRAME_SAMPLES, 3 * FRAME_SAMPLES, step)
    waits = {Mode.PTT: RULES.tail_ms / 1_000, Mode.VAD: RULES.hangover_ms / 1_000}
    for mode, wait_s in waits.items():
        what = "tail" if mode is Mode.PTT else "hangover"
        for early in (True, False):
            measured = [ends(mode, press, early=early) for press in presses]
            over = [(end_s - wait_s) * 1_000 for _, end_s in measured]
            first = [first_s * 1_000 for first_s, _ in measured]
            name = f"{mode}, {'flush_at' if early else 'full frame'}"
            # Speech ends with a step of 16 ms, and so does the hangover's decision.
            goal = (BLOCK_S * 1_000 + 5 + (32 if mode is Mode.VAD else 0)) if early else None
            report.at_most(f"{name}: end known after the {what}, median", median(over), "ms")
            report.at_most(f"{name}: end known after the {what}, 99 %", percentile(over, 99), "ms")
            report.at_most(f"{name}: end known after the {what}, most", max(over), "ms", goal)
            what = "press" if mode is Mode.PTT else "first word"
            report.at_most(f"{name}: first frame after the {what}, most", max(first), "ms")
    report.at_most("a frame in step with the turn", cost_s(Mode.OPEN, in_step=True) * 1e6, "µs", 1_000)
    report.at_most("a frame that has to be cut anew", cost_s(Mode.PTT, in_step=False) * 1e6, "µs", 1_000)
    report.finish(options)


if __name__ == "__main__":
    main()
