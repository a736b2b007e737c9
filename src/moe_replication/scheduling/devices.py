"""The GPUs that this process may use: what nvidia-smi lists, cut down by CUDA_VISIBLE_DEVICES."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from moe_replication.errors import BadInput

VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU by its UUID, which means the same to every process; `memory_mb` 0 says it can only be had whole."""

    uuid: str
    memory_mb: int


def usable_devices(environment: Mapping[str, str]) -> list[Device] | None:
    """GPUs in the order of CUDA_VISIBLE_DEVICES, or all; None where nvidia-smi is missing and nothing can be leased."""
    present = _present_devices()
    visible = environment.get(VISIBLE)
    if present is None or visible is None:
        return present
    named = (_find(token.strip(), present) for token in visible.split(",") if token.strip())
    return list(dict.fromkeys(named))


def _present_devices() -> list[Device] | None:
    if shutil.which("nvidia-smi") is None:
        return None
    query = ["nvidia-smi", "--query-gpu=uuid,memory.total", "--format=csv,noheader,nounits"]
    result = subprocess.run(query, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise BadInput(f"nvidia-smi failed ({(result.stdout + result.stderr).strip()}); mend the driver")
    rows = (line.split(",") for line in result.stdout.splitlines() if line.strip())
    return [Device(uuid.strip(), int(memory)) for uuid, memory in rows]


def _find(token: str, present: list[Device]) -> Device:
    """The device that an entry of CUDA_VISIBLE_DEVICES means: a number, a UUID or its beginning, a MIG slice."""
    if token.startswith("MIG-"):
        return Device(token, 0)
    if token.isdigit() and int(token) < len(present):
        return present[int(token)]
    found = [device for device in present if token.startswith("GPU-") and device.uuid.startswith(token)]
    if len(found) != 1:
        raise BadInput(
            f"{VISIBLE}: {token!r} is none of the {len(present)} GPUs of nvidia-smi; give numbers from 0 or UUIDs"
        )
    return found[0]
