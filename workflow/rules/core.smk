"""CORE (paper A, Tables 1 and 2) of one finished run a job, where a bundle is set or the scale asks for it."""

from moe_replication.config.core import CORE_FILES, CORE_ROOT, core_runs, core_settings
from moe_replication.config.probe import probe_folder

CORE_CODE = [f"evaluation/core_{part}.py" for part in ("benchmark", "bundle", "prompts", "scoring")]


def core_files():
    """Table and summary of every run that is scored."""
    runs = core_runs(PROJECT, core_settings(PROJECT.root))
    return [f"{probe_folder(run)}/{file}" for run in runs for file in CORE_FILES]


def core_bundle():
    """The bundle where it is a folder or a file; a URL is no file to wait for."""
    place = PROJECT.roots[CORE_ROOT]
    return [] if place is None or place.startswith(("http://", "https://")) else place


rule core:
    input:
        f"{RESULTS}/runs/{{paper}}/{{condition}}/seed-{{seed}}/run.json",
        "config/core.yaml",
        core_bundle(),
    output:
        [f"{RESULTS}/probes/{{paper}}/{{condition}}/seed-{{seed}}/{file}" for file in CORE_FILES],
    log:
        f"{LOGS}/core/{{paper}}-{{condition}}-seed-{{seed}}.log",
    wildcard_constraints:
        paper="[^/]+",
        condition="[^/]+",
        seed=r"\d+",
    threads: PROJECT.scale.threads
    resources:
        gpu=PROJECT.scale.gpus_per_process,
    params:
        run=f"{RESULTS}/runs/{{paper}}/{{condition}}/seed-{{seed}}",
        bundle=PROJECT.roots[CORE_ROOT],
        code=code_version(*CORE_CODE),
    message:
        "score {wildcards.paper} {wildcards.condition}, seed {wildcards.seed}, on CORE"
    shell:
        "moe-replication core {params.run} > {log} 2>&1"
