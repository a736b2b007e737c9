"""From run records to tables, comparisons and verdicts."""

TABLES = [f"{RESULTS}/{name}.parquet" for name in ("runs", "curves", "experts", "registered-claims")]
COMPARISONS = [f"{RESULTS}/{name}.parquet" for name in ("summary", "comparisons")]


rule collect:
    input:
        run_files(),
    output:
        report(TABLES[0], category=SECTIONS["tables"], caption="../report/tables.rst", labels={"table": "runs"}),
        TABLES[1:],
    log:
        f"{LOGS}/collect.log",
    params:
        scale=SCALE,
        labels=sorted(map(str, PROJECT.labels.items())),
        code=code_version("statistics/collect.py", "statistics/versions.py"),
    message:
        "collect the run records"
    shell:
        "moe-replication collect --scale {params.scale} > {log} 2>&1"


rule compare:
    input:
        TABLES[0],
        expand("config/claims/{paper}.yaml", paper=PROJECT.papers),
        "config/paper_values.yaml",
        ANALYSIS_FILE,
    output:
        COMPARISONS,
    log:
        f"{LOGS}/compare.log",
    params:
        scale=SCALE,
        baselines=[f"{p.name}/{c.name}:{c.baseline}" for p in PROJECT.papers.values() for c in p.conditions.values()],
        mixed=PROJECT.pool_mixed_versions,
        code=code_version("statistics", "figures/paper_values.py"),
    message:
        "compare conditions"
    shell:
        "moe-replication compare --scale {params.scale} > {log} 2>&1"


rule claims:
    input:
        TABLES,
        f"{RESULTS}/probe-metrics.parquet",
        expand("config/claims/{paper}.yaml", paper=PROJECT.papers),
        ANALYSIS_FILE,
    output:
        f"{RESULTS}/scorecard.json",
        report(
            f"{RESULTS}/scorecard.md",
            category=SECTIONS["scorecard"],
            caption="../report/scorecard.rst",
            labels={"form": "text"},
        ),
        report(
            f"{RESULTS}/scorecard.html",
            category=SECTIONS["scorecard"],
            caption="../report/scorecard.rst",
            labels={"form": "page"},
        ),
    log:
        f"{LOGS}/claims.log",
    params:
        scale=SCALE,
        mixed=PROJECT.pool_mixed_versions,
        code=code_version(*SCORECARD_CODE),
    message:
        "judge the claims"
    shell:
        "moe-replication claims --scale {params.scale} > {log} 2>&1"
