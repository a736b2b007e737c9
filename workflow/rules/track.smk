"""MLflow mirrors what is on disk; nothing reads it back, and a failing store fails nothing."""


rule mirror:
    input:
        records(),
        TABLES,
        COMPARISONS,
        f"{RESULTS}/scorecard.json",
        figure_files("png"),
    output:
        f"{RESULTS}/mirror.json",
    log:
        f"{LOGS}/mirror.log",
    params:
        scale=SCALE,
        uri=PROJECT.tracking.uri,
        last_failure=last_mirror_failure(),
        code=code_version("tracking"),
    message:
        "mirror into MLflow"
    shell:
        "moe-replication track --scale {params.scale} > {log} 2>&1"
