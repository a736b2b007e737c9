"""CORE (paper A, Tables 1 and 2) of one finished run a job, where a bundle is set or the scale asks for it."""

from moe_replication.config.core import CORE_FILES, CORE_ROOT

CORE_CODE = [f"evaluation/core_{part}.py" for part in ("benchmark", "bundle", "prompts", "scoring")] + [
    "evaluation/checkpoints.py",
    "data/tokenizer.py",
]


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
        run=subpath(input[0], parent=True),
        bundle=PROJECT.roots[CORE_ROOT],
        code=code_version(*CORE_CODE),
    message:
        "score {wildcards.paper} {wildcards.condition}, seed {wildcards.seed}, on CORE"
    shell:
        "moe-replication core {params.run} > {log} 2>&1"
