"""config/planning.yaml: devices, prices and the sizes of public data sets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from moe_replication.config.overlays import origins, read_layer, values
from moe_replication.config.project import Scale
from moe_replication.config.run import RunConfig
from moe_replication.config.schema import read_checked
from moe_replication.errors import BadInput
from moe_replication.planning.network import Network

FILE = "config/planning.yaml"


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """What hours, money and energy are counted on; `origins` says where each number comes from.

    `names` are the GPUs of finished runs that the watts hold for, whole names as torch gives them.
    """

    name: str
    unit: str
    precision: str
    peak_tflops: dict[str, float]
    utilization: float
    memory_gb: float
    dollars_per_hour: float
    watts: float
    origins: dict[str, str]
    names: tuple[str, ...] = ()

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
class Process:
    """A process on a device: its precision, whether memory counts when it is asked for (a GPU) or when it is touched,
    bytes before there is a model, and bytes that the allocator takes for a byte of activations.
    """

    precision: str
    reserved: bool
    runtime: int
    heap: float


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
class Energy:
    """What the energy of finished runs is counted with; `overhead` is the building's share, 1 = none."""

    devices: dict[str, Device]
    without_gpu: str
    overhead: float
    grams_co2_per_kwh: float
    origins: dict[str, str]

    def device(self, recorded: str) -> Device | None:
        """Device of a record's `device`: "cpu", or the entry that lists the GPU's name; None where none does."""
        if recorded == "cpu":
            return self.devices[self.without_gpu]
        return next((device for device in self.devices.values() if recorded in device.names), None)

    def kilowatt_hours(self, device: Device, hours: float) -> float:
        """Energy of so many hours of the device."""
        return hours * device.watts * self.overhead / 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Assumptions:
    """Everything that config/planning.yaml says, for one scale."""

    device: Device
    runtime_gb: float
    heap: float
    network: Network | None
    images: dict[str, ImageSet]
    text_tokens: dict[str, int]

    def process(self, config: RunConfig) -> Process:
        """What a run's processes run on."""
        device = self.device
        return Process(
            precision=device.precision_of(config),
            reserved=device.is_gpu,
            runtime=round(self.runtime_gb * 1e9),
            heap=self.heap,
        )


def load_assumptions(root: Path, scale: Scale) -> Assumptions:
    """Checked contents of config/planning.yaml below `root`; BadInput names what is wrong."""
    layer = _layer(root)
    plain = values(layer)
    default = "with_gpu" if scale.gpus_per_process else "without_gpu"
    name = plain["scales"].get(scale.name, plain[default])
    if name not in plain["devices"]:
        raise _no_device(f"scales.{scale.name}" if scale.name in plain["scales"] else default, name, plain)
    device = _device(layer, name)
    return Assumptions(
        device=device,
        **plain["process"][device.unit],
        network=_network(layer, name),
        images={key: ImageSet(**entry) for key, entry in plain["images"].items()},
        text_tokens=plain["text_tokens"],
    )


def load_energy(root: Path) -> Energy:
    """The devices' watts, overhead and carbon of config/planning.yaml below `root`; BadInput names what is wrong."""
    layer = _layer(root)
    plain = values(layer)
    if plain["without_gpu"] not in plain["devices"]:
        raise _no_device("without_gpu", plain["without_gpu"], plain)
    return Energy(
        devices={name: _device(layer, name) for name in plain["devices"]}, without_gpu=plain["without_gpu"],
        origins=origins(layer["energy"]), **plain["energy"],
    )  # fmt: skip


def _layer(root: Path) -> dict:
    return read_layer(read_checked(root, FILE, "planning"), "ours")


def _device(layer: dict, name: str) -> Device:
    entry = layer["devices"][name]
    plain = values(entry)
    return Device(name=name, **plain | {"names": tuple(plain.get("names", ()))}, origins=origins(entry))


def _network(layer: dict, name: str) -> Network | None:
    entry = layer["networks"].get(name)
    return None if entry is None else Network(**values(entry), origins=origins(entry))


def _no_device(key: str, name: str, plain: dict) -> BadInput:
    known = ", ".join(plain["devices"])
    return BadInput(f"{FILE}: {key} = {name!r} is no device; add it, or choose one of {known}")
