"""Errors that a user can cause and mend, and how their messages shorten a list of names."""

from __future__ import annotations

from collections.abc import Iterable


class BadInput(ValueError):
    """Wrong configuration, command line or input file; the message names key, value, rule and remedy."""


class Stopped(SystemExit):
    """A signal asked a run to stop; its checkpoint is written."""


class TrainingDiverged(RuntimeError):
    """A loss that is no number; the message names the run and the step."""


def named(names: Iterable[str], most: int = 8) -> str:
    """For a message: the first few names, and how many more there are."""
    names = list(names)
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
