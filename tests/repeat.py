"""How reliable tests are, and how long they take: `--repeat N` and a budget for each file.

    scripts/test --repeat 50 tests/session/test_link.py     each test 50 times, and how often each failed
    scripts/test --budget                                   fails when a file took longer than its budget

A budget is generous, as machines differ: it finds the file that grew by minutes, not by seconds.
"""

import collections
from typing import Any

import pytest

BUDGET_S = 400.0
"""For a file of tests, on two cores beside three others; what takes longer is split, or says here why it does not."""

LONGER_S: dict[str, float] = {
    "tests/unit/test_build.py": 900.0,  # compiles the core thrice
    "tests/unit/test_core_proofs.py": 900.0,  # model checking, valgrind and sanitizers
    "tests/device/test_recovery.py": 900.0,  # real time, with each kind of microphone
    "tests/device/test_faults.py": 600.0,  # as that
}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("ravatar-audio")
    group.addoption(
        "--repeat", type=int, default=1, metavar="N", help="run each test N times, and tell how often each failed"
    )
    group.addoption("--budget", action="store_true", help="fail when a file took longer than its budget")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    times = metafunc.config.getoption("--repeat")
    if times > 1:
        metafunc.fixturenames.append("_time")
        metafunc.parametrize("_time", range(1, times + 1), ids=lambda number: f"time {number}")


class Outcomes:
    """What happened to each test, over all its times, and how long each file took."""

    def __init__(self, config: pytest.Config) -> None:
        self.times = config.getoption("--repeat")
        self.has_budget = config.getoption("--budget")
        self.failed: collections.Counter[str] = collections.Counter()
        self.took_s: dict[str, float] = collections.defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.took_s[report.nodeid.partition("::")[0]] += report.duration
        if report.failed:
            self.failed[self.without_number(report.nodeid)] += 1

    @staticmethod
    def without_number(nodeid: str) -> str:
        name, _, parameters = nodeid.partition("[")
        kept = [each for each in parameters.rstrip("]").split("-") if not each.startswith("time ")]
        return name + (f"[{'-'.join(kept)}]" if any(kept) else "")

    def over_budget(self) -> dict[str, float]:
        return {file: took_s for file, took_s in self.took_s.items() if took_s > LONGER_S.get(file, BUDGET_S)}

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.has_budget and self.over_budget() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self.times > 1:
            terminalreporter.section(f"each test {self.times} times")
            for nodeid, count in self.failed.most_common():
                terminalreporter.line(
                    f"{nodeid}: failed {count} of {self.times} times ({100 * count / self.times:.1f} %)"
                )
            if not self.failed:
                terminalreporter.line("none failed")
        if self.has_budget:
            for file, took_s in sorted(self.over_budget().items()):
                allowed_s = LONGER_S.get(file, BUDGET_S)
                terminalreporter.line(f"over budget: {file} took {took_s:.0f} s of {allowed_s:.0f} s (tests/repeat.py)")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # xdist's workers report to the one that started them
        config.pluginmanager.register(Outcomes(config))
