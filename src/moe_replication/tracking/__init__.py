"""MLflow as a mirror of the run records; nothing else in the project reads it."""

from __future__ import annotations

# Beside mirror.json, which the workflow engine removes before it mirrors again.
LAST_FAILURE = "mirror-failure.txt"


class TrackingError(RuntimeError):
    """The tracking store failed; run records are untouched, so a caller warns and goes on."""
