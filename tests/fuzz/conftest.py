"""After the tests: how many distinct cases every suite tried, and how many of them were refused."""

from __future__ import annotations

from collections import Counter

from fuzzing import LEDGERS


def pytest_terminal_summary(terminalreporter) -> None:
    cases, refused = Counter(), Counter()
    for suite, ledger in LEDGERS:
        cases[suite] += len(ledger.outcomes)
        refused[suite] += sum(message is not None for message in ledger.outcomes.values())
    for suite in sorted(cases):
        terminalreporter.write_line(f"fuzz {suite}: {cases[suite]} distinct cases, {refused[suite]} refused")
