"""One job trains runs in one process: the seeds of a condition that have no current record, at small scales.

A record is current when it was made from today's settings and training code, so a deleted record, a new seed or
a changed condition trains just what is missing. Checkpoints live outside the outputs, which the workflow engine
removes when a job fails. The command runs as a job of `moe_replication.scheduling`, which leases its GPUs and queues
it again where a cluster stops it; `exec`, or the shell in between would die of the signal before the checkpoint.
"""

from moe_replication.scheduling.requests import JobRequests

# A run on this machine's own cores asks nobody for anything, and a dry run starts nothing.
REQUESTS = JobRequests(
    PROJECT,
    needed=lambda: not workflow.dryrun and (PROJECT.scale.gpus_per_process > 0 or not workflow.local_exec),
)

for job in training_jobs(PROJECT):

    rule:
        name:
            f"train_{job.name}"
        input:
            job.data,
        output:
            job.files,
            records=job.records,
        log:
            f"{LOGS}/train/{job.name}.log",
        threads: job.processes * PROJECT.scale.threads
        resources:
            gpu=job.processes * PROJECT.scale.gpus_per_process,
            gpu_mem_mb=REQUESTS.resource(job.runs, "gpu_mem_mb"),
            mem_mb=REQUESTS.resource(job.runs, "mem_mb"),
            runtime=REQUESTS.resource(job.runs, "runtime"),
        params:
            expect=job.version,
            code=training_code_version(),
        message:
            f"train {job.title}"
        shell:
            "exec python -m moe_replication.scheduling --gpus {resources.gpu} --gpu-memory {resources.gpu_mem_mb}"
            " -- moe-replication train {output.records} --expect {params.expect} > {log} 2>&1"
