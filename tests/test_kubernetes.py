"""The Kubernetes manifest of docs/cluster.md: fields that the API knows, names that meet, commands that exist."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
# Of batch/v1 Job (Kubernetes 1.31 API reference): what the manifest may use, by place.
FIELDS = {
    "job": {"apiVersion", "kind", "metadata", "spec"},
    "job spec": {"backoffLimit", "template", "completions", "parallelism", "podFailurePolicy"},
    "pod": {"metadata", "spec"},
    "pod spec": {"restartPolicy", "terminationGracePeriodSeconds", "containers", "volumes", "nodeSelector"},
    "container": {"name", "image", "workingDir", "command", "args", "env", "lifecycle", "resources", "volumeMounts"},
    "lifecycle": {"preStop", "postStart"},
    "mount": {"name", "mountPath", "subPath", "readOnly"},
}


@pytest.fixture(scope="module")
def job() -> dict:
    """The only YAML block of the page."""
    page = (ROOT / "docs/cluster.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return yaml.safe_load(block)


@pytest.fixture(scope="module")
def container(job) -> dict:
    (found,) = job["spec"]["template"]["spec"]["containers"]
    return found


def test_every_field_is_one_of_the_api(job, container):
    pod = job["spec"]["template"]
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    places = {
        "job": job, "job spec": job["spec"], "pod": pod, "pod spec": pod["spec"], "container": container,
        "lifecycle": container["lifecycle"],
    }  # fmt: skip
    for place, found in places.items():
        assert set(found) <= FIELDS[place], place
    for mount in container["volumeMounts"]:
        assert set(mount) <= FIELDS["mount"]
    # A Job takes no other; with Always the API refuses it.
    assert pod["spec"]["restartPolicy"] in ("OnFailure", "Never")
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", job["metadata"]["name"])
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", container["name"])


def test_mounted_volumes_are_declared_and_the_project_is_where_it_is_worked_in(job, container):
    volumes = {volume["name"]: volume for volume in job["spec"]["template"]["spec"]["volumes"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert volumes.keys() == mounts.keys()
    assert mounts["project"] == container["workingDir"]
    assert "claimName" in volumes["project"]["persistentVolumeClaim"]
    assert volumes["memory"]["emptyDir"]["medium"] == "Memory"
    limits = container["resources"]["limits"]
    # A whole number: Kubernetes gives no part of a GPU, and takes a request to be the limit.
    assert isinstance(limits["nvidia.com/gpu"], int)
    assert re.fullmatch(r"\d+Gi", limits["memory"])


def test_its_commands_are_shell_and_targets_of_the_makefile(container):
    scripts = [container["command"], container["lifecycle"]["preStop"]["exec"]["command"]]
    for shell, option, script in scripts:
        assert (shell, option) == ("bash", "-c")
        subprocess.run(["bash", "-n", "-c", script], check=True)
    calls = re.findall(r"make (\w+) SCALE=(\w+)", scripts[0][2])
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert calls
    for target, scale in calls:
        assert target in targets
        assert (ROOT / f"config/scales/{scale}.yaml").is_file()


def test_before_the_pod_goes_the_command_that_trains_is_signalled(job, container):
    script = container["lifecycle"]["preStop"]["exec"]["command"][2]
    patterns = set(re.findall(r"-f '([^']+)'", script))
    rule = (ROOT / "workflow/rules/train.smk").read_text(encoding="utf-8")
    command = re.search(r"-- (moe-replication train) ", rule)[1]
    assert len(patterns) == 1
    for pattern in patterns:
        assert re.search(pattern, command)
        # Else the hook's shell would signal itself, and wait for itself.
        assert not re.search(pattern, script)
    assert job["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] >= 60
