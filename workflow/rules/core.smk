"""CORE (paper A, Tables 1 and 2) of one finished run a job, where a bundle is set or the scale asks for it.

Imported runs came with their tables or have none.
"""

from moe_replication.config.core import CORE_FILES, CORE_ROOT, core_runs, core_settings
from moe_replication.config.jobs import RunGroup, is_imported

CORE_CODE = [f"evaluation/core_{part}.py" for part in ("benchmark", "bundle", "prompts", "scoring")] + [
    "evaluation/checkpoints.py",
    "data/tokenizer.py",
]


for scored in core_runs(PROJECT, core_settings(PROJECT.root)):
    if is_imported(PROJECT, scored):
        continue

    rule:
        name:
            f"core_{RunGroup(runs=(scored,)).name}"
        input:
            f"{scored.folder}/run.json",
            "config/core.yaml",
            core_bundle(),
        output:
            [f"{probe_folder(scored)}/{file}" for file in CORE_FILES],
        log:
            f"{LOGS}/core/{scored.paper}-{scored.condition}-seed-{scored.seed}.log",
        threads: PROJECT.scale.threads
        resources:
            gpu=PROJECT.scale.gpus_per_process,
            gpu_mem_mb=REQUESTS.resource([scored], "gpu_mem_mb"),
            mem_mb=REQUESTS.resource([scored], "mem_mb"),
            runtime=REQUESTS.resource([scored], "runtime"),
        params:
            run=str(scored.folder),
            bundle=PROJECT.roots[CORE_ROOT],
            code=code_version(*CORE_CODE),
        message:
            f"score {scored.paper} {scored.condition}, seed {scored.seed}, on CORE"
        shell:
            "exec python -m moe_replication.scheduling --gpus {resources.gpu} --gpu-memory {resources.gpu_mem_mb}"
            " -- moe-replication core {params.run} > {log} 2>&1"
