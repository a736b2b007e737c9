"""Logarithmic axes with places of their own, at the low end, for zero and for undefined values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from moe_replication.figures import style

NAMES = {None: "\nundefined", 0.0: "0"}  # the long name has a line of its own


@dataclass(frozen=True, kw_only=True)
class LogSlots:
    """An axis from `low` to `high`, both positive; `slots`, of None and 0.0, lie left of it in this order."""

    low: float
    high: float
    marks: tuple[float, ...]
    slots: tuple[float | None, ...]

    @property
    def step(self) -> float:
        """Factor from one slot to the next, and from the last to the lowest value."""
        return max((self.high / self.low) ** 0.2, 1.35)

    @property
    def start(self) -> float:
        """Where the slots end and the logarithmic axis begins."""
        return self.low / self.step**0.5

    @property
    def limits(self) -> tuple[float, float]:
        """The ends of the axis."""
        return self.low / self.step ** (len(self.slots) + 0.5), self.high * self.step**0.5

    def place(self, value: float | None) -> float:
        """Where `value` lies on the logarithmic axis."""
        if value not in self.slots:
            return value
        return self.low / self.step ** (len(self.slots) - self.slots.index(value))

    def aside(self, place: float, share: float) -> float:
        """`place` moved by a share of the axis' length."""
        low, high = self.limits
        return place * (high / low) ** share

    def dress(self, ax: Axes, side: str = "x") -> None:
        """Scale, limits and ticks at `marks` of side "x" or "y"; a thin line parts the slots from the rest."""
        low, high = self.limits
        labels = [*(NAMES[slot] for slot in self.slots), *(f"{mark:g}" for mark in self.marks)]
        places = [*(self.place(slot) for slot in self.slots), *self.marks]
        getattr(ax, f"set_{side}scale")("log")
        getattr(ax, f"set_{side}ticks")(places, labels)
        getattr(ax, f"{side}axis").set_minor_locator(NullLocator())
        getattr(ax, f"set_{side}lim")(low, high)
        if self.slots:
            line = ax.axvline if side == "x" else ax.axhline
            line(self.start, color=style.GREY, linewidth=0.6)


def log_slots(found: Iterable[float | None], *, most: int = 5, guides: Sequence[float] = ()) -> LogSlots:
    """The axis that holds all of `found` and the `guides`; one without any positive value is centred on 1.

    Ticks are at the values of `found` where these are at most `most`, else as round_marks has them.
    """
    found = set(found)
    values = sorted(value for value in found if value)
    ends = [*values, *guides] or [1.0]
    marks = values if len(values) <= most else round_marks(values[0], values[-1])
    slots = tuple(slot for slot in NAMES if slot in found)
    return LogSlots(low=min(ends), high=max(ends), marks=tuple(marks), slots=slots)


def round_marks(low: float, high: float) -> list[float]:
    """1, 2, 5 times the powers of ten from `low` to `high`; 1, 1.5, 2, 3, 5, 7 where these would be under three."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
        marks = (factor * 10.0**decade for decade in decades for factor in factors)
        found = [mark for mark in marks if 0.99 * low <= mark <= 1.01 * high]
        if len(found) >= 3:
            break
    return found
