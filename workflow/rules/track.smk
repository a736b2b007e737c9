"""MLflow mirrors what is on disk; nothing reads it back, and a failing store fails nothing."""


rule mirror:
    input:
        records(),
        figure_files("png"),
    output:
        f"{RESULTS}/mirror.json",
    log:
        f"{LOGS}/mirror.log",
    params:
        options=ALL_OPTIONS,
        code=code_version("tracking"),
    message:
        "mirror into MLflow"
    shell:
        "moe-replication track {params.options} > {log} 2>&1"
