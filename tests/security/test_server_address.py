"""Where MLflow's server listens: on this machine alone, or where the user said, with a warning."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from bundle_projects import empty_project
from moe_replication.tracking.links import exposure

SECONDS = 90
# State of a listening socket in /proc/net/tcp.
LISTENS = "0A"


def addresses(port: int) -> set[str]:
    """Local addresses on which somebody listens on `port`, as the kernel lists them (IPv6 in hex)."""
    found = set()
    for table in ("tcp", "tcp6"):
        path = Path("/proc/net", table)
        for line in path.read_text(encoding="ascii").splitlines()[1:] if path.exists() else ():
            local, _, state = line.split()[1:4]
            address, _, number = local.partition(":")
            if state == LISTENS and int(number, 16) == port:
                found.add(socket.inet_ntoa(bytes.fromhex(address)[::-1]) if table == "tcp" else address)
    return found


@contextmanager
def user_interface(root: Path, port: int, *more: str):
    """`moe-replication ui`, and the file of what it says."""
    command = [sys.executable, "-m", "moe_replication.cli", "ui", "--scale", "smoke", "--port", str(port), *more]
    with (root / "said").open("w") as said:
        process = subprocess.Popen(command, cwd=root, env=os.environ, stdout=said, stderr=said)
    try:
        yield root / "said"
    finally:
        process.terminate()
        process.wait(timeout=SECONDS)


def bound(root: Path, *more: str) -> tuple[set[str], str]:
    """On which addresses `ui` listens, and what it says."""
    empty_project(root)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with user_interface(root, port, *more) as said:
        end = time.monotonic() + SECONDS
        while not (found := addresses(port)) or "the runs of" not in said.read_text(encoding="utf-8"):
            assert time.monotonic() < end, said.read_text(encoding="utf-8")[-2000:]
            time.sleep(0.2)
        return found, said.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="the kernel's table of sockets is Linux's")
@pytest.mark.parametrize(("host", "warned"), [(None, False), ("0.0.0.0", True)])
def test_the_server_listens_where_it_was_told_and_nowhere_else(tmp_path, host, warned):
    found, said = bound(tmp_path / "project", *(("--host", host) if host else ()))
    assert found == {host or "127.0.0.1"}
    assert ("docs/security.md" in said) is warned


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "::1"])
def test_an_address_of_this_machine_alone_needs_no_warning(host):
    assert exposure(host) == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "node17"])
def test_an_address_that_others_reach_is_warned_of(host):
    (warning,) = exposure(host)
    assert f"--host {host} " in warning
    assert 'docs/security.md, "MLflow"' in warning
