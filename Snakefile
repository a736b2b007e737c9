"""The replication: data, training, statistics, verdicts, figures, scorecard, MLflow mirror."""

from snakemake.utils import min_version

min_version("9.0")


configfile: "config/config.yaml"


report: "workflow/report/workflow.rst"


# Only read when somebody asks for containers (--sdm apptainer): the environment is .venv.
container: "docker://python:3.11-slim"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/core.smk"
include: "workflow/rules/statistics.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/pages.smk"
include: "workflow/rules/track.smk"


localrules:
    all,
    trained,


rule all:
    default_target: True
    input:
        # Named here too: a deleted record would otherwise not be missed while the tables made from it are there.
        run_files(),
        COLLECTED_PROBES,
        core_files(),
        COMPARISONS,
        scorecard_files(),
        figure_files("png"),
        PAGES,
        mirror_files(),
    message:
        f"everything is there at scale {SCALE}"


rule trained:
    input:
        run_files(),
    message:
        "every run is trained"
