"""scripts/test-kiosk's own part: boots, scenarios, and the table at the end."""

import argparse
import os
import random
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from .image import Image, make_image
from .machine import FailedError, Machine
from .scenarios import QUICK, WHOLE, Boot, Kiosk


@dataclass
class Results:
    """What was tried on one system, and what was measured there."""

    suite: str
    passed: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    measured: dict[str, str] = field(default_factory=dict)


def say(text: str) -> None:
    print(f"test-kiosk: {text}", file=sys.stderr, flush=True)


def run_boot(boot: Boot, image: Image, folder: Path, results: Results, chance: random.Random, accelerator: str) -> None:
    """One boot with its scenarios; what fails is kept, and the next boot goes on."""
    names = [scenario.__name__ for scenario in boot.scenarios]
    with Machine(image, folder, accelerator=accelerator, memory_mib=boot.memory_mib) as machine:
        kiosk = Kiosk(machine, chance, results.measured)
        name = "boot"
        try:
            took_s = machine.power_on(script=boot.script, clock=boot.clock)
            say(f"{results.suite}: booted in {took_s:.0f} s for {', '.join(names)}")
            if boot.begins_up:
                kiosk.await_up(180.0)
            for scenario in boot.scenarios:
                name, began_s = scenario.__name__, time.monotonic()
                scenario(kiosk)
                results.passed.append(name)
                say(f"{results.suite}: {name}: passed in {time.monotonic() - began_s:.0f} s")
        except FailedError as error:
            results.failed.append(name)
            say(f"{results.suite}: {name}: FAILED: {error}")
            keep_journal(machine, folder)


def keep_journal(machine: Machine, folder: Path) -> None:
    """What the machine itself says, where it still says anything."""
    try:
        log = machine.run("journalctl -b -o short-monotonic --no-pager", limit_s=60.0, may_fail=True)
    except (FailedError, AssertionError, OSError) as error:
        log = str(error)
    (folder / "journal.log").write_text(log, encoding="utf-8")
    say("the service's last words:\n" + "\n".join(line for line in log.splitlines() if "ravatar" in line)[-2500:])
    say(f"all of its journal: {folder / 'journal.log'}")


def table(results: list[Results]) -> str:
    """Markdown: what was measured, and what was tried, a column for each system."""
    names = list(dict.fromkeys(name for each in results for name in each.measured))
    tried = list(dict.fromkeys(name for each in results for name in each.passed + each.failed))
    rows = [["", *(each.suite for each in results)], ["---"] * (len(results) + 1)]
    rows += [[name, *(each.measured.get(name, "") for each in results)] for name in names]
    for name in tried:
        cells = ["FAILED" if name in each.failed else "passed" if name in each.passed else "" for each in results]
        rows.append([name.replace("_", " "), *cells])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/test-kiosk", description="Boots a kiosk and tries what may happen to it."
    )
    parser.add_argument("--quick", action="store_true", help="one boot of the first suite")
    parser.add_argument("--debs", type=Path, required=True, help="folder of the packages")
    parser.add_argument("--cache", type=Path, required=True, help="folder of roots, which are made once")
    parser.add_argument("--only", default="", help="scenarios, by name, with commas between them")
    parser.add_argument("--seed", type=int, default=None, help="of the random moments")
    parser.add_argument("--accelerator", choices=["tcg", "icount"], default="tcg", help="icount: slow, none late")
    parser.add_argument("suites", nargs="*", default=["bookworm", "trixie"])
    chosen = parser.parse_args()
    seed = chosen.seed if chosen.seed is not None else random.SystemRandom().randrange(10**6)
    say(f"random moments by --seed {seed}; load {os.getloadavg()[0]:.1f}")
    boots: tuple[Boot, ...] = (QUICK,) if chosen.quick else WHOLE
    if wanted := set(filter(None, chosen.only.split(","))):
        unknown = wanted - {scenario.__name__ for boot in WHOLE for scenario in boot.scenarios}
        if unknown:
            parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
        boots = tuple(boot for boot in WHOLE if wanted & {scenario.__name__ for scenario in boot.scenarios})
        boots = tuple(
            replace(boot, scenarios=tuple(each for each in boot.scenarios if each.__name__ in wanted)) for boot in boots
        )
    all_results = []
    for suite in chosen.suites[:1] if chosen.quick else chosen.suites:
        image = make_image(chosen.cache, suite, chosen.debs)
        results = Results(suite)
        all_results.append(results)
        for number, boot in enumerate(boots):
            run_boot(
                boot,
                image,
                chosen.cache / suite / f"machine-{number}",
                results,
                random.Random(seed + number),
                chosen.accelerator,
            )
    print(table(all_results))
    return 1 if any(each.failed for each in all_results) else 0


if __name__ == "__main__":
    sys.exit(main())
