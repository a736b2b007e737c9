"""config/planning.yaml: devices, prices and the sizes of public data sets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from moe_replication.config.overlays import origins, read_layer, values
from moe_replication.config.project import Scale
from moe_replication.config.run import RunConfig
from moe_replication.config.schema import SCHEMAS, read_yaml, validate
from moe_replication.errors import BadInput

FILE = Path("config/planning.yaml")


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """What a plan is costed on; `origins` says where each number comes from."""

    name: str
    unit: str
    precision: str
    peak_tflops: dict[str, float]
    utilization: float
    memory_gb: float
    dollars_per_hour: float
    origins: dict[str, str]

    @property
    def is_gpu(self) -> bool:
        """Whether memory is reserved when it is asked for, not when it is touched."""
        return self.unit == "GPU"

    def precision_of(self, config: RunConfig) -> str:
        """Precision of a run's matrix products there."""
        return self.precision if config.engine.precision == "auto" else config.engine.precision

    def hours(self, flops: float, precision: str) -> float:
        """Device-hours of `flops` at the stated share of the precision's peak."""
        return flops / (self.peak_tflops[precision] * 1e12 * self.utilization) / 3600


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageSet:
    """Shape, classes and sizes of an image set."""

    channels: int
    height: int
    width: int
    classes: int
    train: int
    test: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Assumptions:
    """Everything that config/planning.yaml says, for one scale."""

    device: Device
    images: dict[str, ImageSet]
    text_tokens: dict[str, int]


def load_assumptions(root: Path, scale: Scale) -> Assumptions:
    """Checked contents of config/planning.yaml below `root`; BadInput names what is wrong."""
    document = read_yaml(root / FILE)
    validate(document, root / SCHEMAS / "planning.schema.yaml", str(FILE))
    layer = read_layer(document, "ours")
    plain = values(layer)
    default = "with_gpu" if scale.gpus_per_process else "without_gpu"
    name = plain["scales"].get(scale.name, plain[default])
    if name not in plain["devices"]:
        key = f"scales.{scale.name}" if scale.name in plain["scales"] else default
        raise BadInput(f"{FILE}: {key} = {name!r} is no device; add it, or choose one of {', '.join(plain['devices'])}")
    return Assumptions(
        device=Device(name=name, **plain["devices"][name], origins=origins(layer["devices"][name])),
        images={key: ImageSet(**entry) for key, entry in plain["images"].items()},
        text_tokens=plain["text_tokens"],
    )
