"""Small multiples with one panel a layer."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from moe_replication.figures import style


def layer_grid(layers: Sequence[int], *, header: float) -> tuple[Figure, dict[int, Axes]]:
    """A figure and its axes by layer, all on one scale; the lowest panel of every column has tick labels."""
    figure, axes = style.grid(len(layers), columns=4, panel_height=1.5, header=header, sharex=True, sharey=True)
    figure.set_figwidth(style.DOUBLE)  # also for one layer, so that legends have room
    by_layer = dict(zip(layers, axes.flat, strict=False))
    for number, (layer, ax) in enumerate(by_layer.items()):
        ax.set_title(f"MoE layer {layer}", loc="left")
        if number >= len(layers) - axes.shape[1]:
            ax.tick_params(labelbottom=True)
    return figure, by_layer
