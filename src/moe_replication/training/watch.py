"""Warnings of a training that goes on but looks wrong: sudden rises of the loss, experts that get next to nothing.

Legend: L MoE layers, E experts.
"""

from __future__ import annotations

from statistics import median

from moe_replication.config.safety import SafetySettings

# A normal distribution's standard deviation over its median absolute deviation.
_DEVIATION = 1.4826


class TrainingWatch:
    """Looks at losses and usage after the fact and changes no number; its state goes into the checkpoint.

    `fair_share` is the share of tokens that an expert of a balanced layer gets.
    """

    def __init__(self, settings: SafetySettings, fair_share: float) -> None:
        self.settings, self.fair_share = settings, fair_share
        self.warnings: list[str] = []
        self._losses: list[float] = []
        self._in_spike = False
        self._hungry: dict[str, int] = {}

    def see_losses(self, done: int, losses: list[float]) -> list[str]:
        """Warnings of the last steps' losses, the last of them the `done`-th step's; one a spike, at its first step."""
        found = []
        for step, loss in enumerate(losses, start=done - len(losses) + 1):
            limit = self._limit()
            if limit is not None and loss > limit and not self._in_spike:
                known = f"the median of the {len(self._losses)} steps before is {median(self._losses):.4f}"
                found.append(f"loss {loss:.4f} at step {step} is a spike: {known}")
            self._in_spike = limit is not None and loss > limit
            self._losses = [*self._losses, loss][-self.settings.spike_window :]
        self.warnings += found
        return found

    def see_usage(self, done: int, usage_LE: list[list[float]]) -> list[str]:
        """At most one warning: experts that have starved for as many logged steps as the settings say."""
        limit, new = self.settings.starved_share * self.fair_share, []
        for layer, usage_E in enumerate(usage_LE):
            for expert, share in enumerate(usage_E):
                name = f"{layer}.{expert}"
                self._hungry[name] = self._hungry.get(name, 0) + 1 if share < limit else 0
                if self._hungry[name] == self.settings.starved_logs:
                    new.append(name)
        if not new:
            return []
        rule = (
            f"under {self.settings.starved_share:.2%} of their fair share at {self.settings.starved_logs} logged steps"
        )
        found = [f"starved experts (layer.expert) at step {done}: {', '.join(new)}; {rule} in a row"]
        self.warnings += found
        return found

    def state_dict(self) -> dict:
        """What a resumed run needs to warn of the same."""
        return {
            "warnings": self.warnings,
            "losses": self._losses,
            "in_spike": self._in_spike,
            "hungry": self._hungry,
        }

    def load_state_dict(self, saved: dict) -> None:
        """Restore what `state_dict` gave."""
        self.warnings, self._losses = saved["warnings"], saved["losses"]
        self._in_spike, self._hungry = saved["in_spike"], saved["hungry"]

    def _limit(self) -> float | None:
        """Loss above which a step is a spike; None while too few steps are known."""
        if 2 * len(self._losses) < self.settings.spike_window:
            return None
        middle = median(self._losses)
        spread = _DEVIATION * median(abs(loss - middle) for loss in self._losses)
        return middle + max(self.settings.spike_deviations * spread, self.settings.spike_rise)
