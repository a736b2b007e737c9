"""Errors that a user can cause and mend."""

from __future__ import annotations


class BadInput(ValueError):
    """Wrong configuration, command line or input file; the message names key, value, rule and remedy."""


class Stopped(SystemExit):
    """A signal asked a run to stop; its checkpoint is written."""


class TrainingDiverged(RuntimeError):
    """A loss that is no number; the message names the run and the step."""
