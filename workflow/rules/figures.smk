"""One job a module of figures, or a paper's where the scale says so: its tables and the code it imports decide whether
it draws again.
"""

from moe_replication.config.figure_jobs import figure_jobs

# What the report shows of a figure; the other files lie beside it.
FORMS = {"png": "picture", "html": "page"}

for figure_job, drawn in figure_jobs(PROJECT).items():

    rule:
        name:
            f"figures_{figure_job}"
        input:
            # The runs are read in any case: pictures of several versions are refused.
            sorted({f"{RESULTS}/{table}.parquet" for figure in drawn.values() for table in ("runs", *figure.tables)}),
            "config/paper_values.yaml",
            # The definitions are paper B's.
            ANALYSIS_FILE if any(name.startswith("b-") for name in drawn) else [],
        output:
            [
                report(
                    f"{FIGURES}/{name}.{kind}",
                    category=SECTIONS["figures"],
                    subcategory=f"Paper {name[0].upper()}",
                    caption=f"../report/{name}.rst",
                    labels={"figure": name, "form": FORMS[kind]},
                )
                for name, figure in drawn.items()
                for kind in figure.suffixes
                if kind in FORMS
            ],
            [
                f"{FIGURES}/{name}.{kind}"
                for name, figure in drawn.items()
                for kind in figure.suffixes
                if kind not in FORMS
            ],
        log:
            f"{LOGS}/figures-{figure_job}.log",
        params:
            scale=SCALE,
            names=list(drawn),
            mixed=PROJECT.pool_mixed_versions,
            code=code_version(*sorted({file for figure in drawn.values() for file in figure_code(figure.module)})),
        message:
            f"draw {', '.join(drawn)}"
        shell:
            "moe-replication figure {params.names} --scale {params.scale} > {log} 2>&1"
