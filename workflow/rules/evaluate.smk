"""Probes of finished runs, of paper A in full, of paper B over the temperature: one job takes the seeds of a condition."""

from dataclasses import asdict

from moe_replication.config.fingerprint import config_version
from moe_replication.config.figures import COLLECTED_PROBES as COLLECTED_NAMES
from moe_replication.config.probe import probe_jobs, probe_paths, probe_settings, probed_runs, scanned_runs

SETTINGS = asdict(probe_settings(PROJECT.root, SCALE))
SCAN_SETTINGS = config_version({"scan_temperatures": SETTINGS.pop("scan_temperatures")})
PROBE_SETTINGS = config_version(SETTINGS)
PROBE_CODE = ["config/probe.py", "statistics/probe_tables.py", "data/tokenizer.py"] + [
    f"evaluation/{name}.py"
    for name in (
        "probe",
        "probe_metrics",
        "routing_probe",
        "token_map",
        "specialization",
        "documents",
        "threshold_shift",
        "consistency",
        "checkpoints",
    )
]
SCAN_CODE = ["statistics/probe_tables.py"] + [
    f"evaluation/{name}.py" for name in ("temperature_scan", "probe", "checkpoints")
]
PROBED = (*probed_runs(PROJECT), *scanned_runs(PROJECT))
PROBE_JOBS = list(probe_jobs(PROJECT))
COLLECTED_PROBES = [f"{RESULTS}/{name}.parquet" for name in COLLECTED_NAMES]

for probe_job in PROBE_JOBS:

    rule:
        name:
            f"{probe_job.command}_{probe_job.name}"
        input:
            probe_job.manifest,
            records=probe_job.records,
        output:
            probe_job.files,
        log:
            f"{LOGS}/{probe_job.command}/{probe_job.name}.log",
        threads: PROJECT.scale.threads
        resources:
            gpu=PROJECT.scale.gpus_per_process,
            gpu_mem_mb=REQUESTS.resource(probe_job.runs, "gpu_mem_mb"),
            mem_mb=REQUESTS.resource(probe_job.runs, "mem_mb"),
            runtime=REQUESTS.resource(probe_job.runs, "runtime"),
        params:
            settings=SCAN_SETTINGS if probe_job.command == "scan" else PROBE_SETTINGS,
            command=probe_job.command,
            code=code_version(*(SCAN_CODE if probe_job.command == "scan" else PROBE_CODE)),
        message:
            f"{probe_job.command} {probe_job.title}"
        shell:
            "exec python -m moe_replication.scheduling --gpus {resources.gpu} --gpu-memory {resources.gpu_mem_mb}"
            " -- moe-replication {params.command} {input.records} > {log} 2>&1"


rule collect_probes:
    input:
        core_files(),
        [file for run in PROBED for file in (f"{run.folder}/run.json", *probe_paths(run))],
    output:
        COLLECTED_PROBES,
    log:
        f"{LOGS}/collect-probes.log",
    params:
        scale=SCALE,
        code=code_version("statistics/probes.py", "statistics/probe_tables.py"),
    message:
        "collect the probes"
    shell:
        "moe-replication collect-probes --scale {params.scale} > {log} 2>&1"
