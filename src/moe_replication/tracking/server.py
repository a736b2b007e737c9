"""MLflow's own server, for a browser on this machine unless told otherwise."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from moe_replication.tracking.links import HOST
from moe_replication.tracking.store import open_store


@contextmanager
def serve(uri: str, results: Path, port: int, host: str = HOST) -> Iterator[subprocess.Popen]:
    """A server of the store at `uri`, stopped at the end; TrackingError when the store cannot be opened."""
    # The server's processes would make a new store's tables at the same time, and collide.
    with open_store(uri, results):
        pass
    # Without its job runner the server takes 2 processes and 8 seconds instead of 10 and 19.
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", host, "--port", str(port)]
    server = subprocess.Popen([*command, "--backend-store-uri", uri], env=environment)
    # A plain end by SIGTERM would leave the server behind.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        yield server
    finally:
        server.terminate()
        server.wait()
