"""One job trains runs in one process: the seeds of a condition that have no current record, at small scales.

A record is current when it was made from today's settings and training code, so a deleted record, a new seed or
a changed condition trains just what is missing. Checkpoints live outside the outputs, which the workflow engine
removes when a job fails.
"""

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
        threads: PROJECT.scale.threads
        resources:
            gpu=job.processes * PROJECT.scale.gpus_per_process,
        params:
            launcher=launcher(job.processes),
            expect=job.version,
            code=training_code_version(),
        message:
            f"train {job.title}"
        shell:
            "{params.launcher} train {output.records} --expect {params.expect} > {log} 2>&1"
