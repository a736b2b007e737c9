"""One job trains the seeds of a condition that are not there yet, in one process.

A record counts as there when it was made from today's settings and training code, so a deleted record, a new
seed or a changed condition trains just what is missing. Checkpoints live outside the outputs, which the
workflow engine removes when a job fails.
"""

for batch in batches(PROJECT):

    rule:
        name:
            f"train_{batch.name}"
        input:
            batch.data,
        output:
            batch.files,
            records=batch.records,
        log:
            f"{LOGS}/train/{batch.name}.log",
        threads: PROJECT.scale.threads
        resources:
            gpu=gpus(batch.processes),
        params:
            launcher=launcher(batch.processes),
            options=DATA_OPTIONS,
            expect=batch.version,
            code=training_code_version(),
        message:
            f"train {batch.title}"
        shell:
            "{params.launcher} train {output.records} --expect {params.expect} {params.options} > {log} 2>&1"
