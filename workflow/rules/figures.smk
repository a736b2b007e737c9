"""One job a figure; its tables and the code it imports, not the training code, decide whether it is drawn again."""

# What the report shows of a figure; the other files lie beside it.
FORMS = {"png": "picture", "html": "page"}

for figure_name, figure in PROJECT.figures.items():

    rule:
        name:
            f"figure_{figure_name.replace('-', '_')}"
        input:
            [f"{RESULTS}/{table}.parquet" for table in figure.tables],
            "config/paper_values.yaml",
        output:
            [
                report(
                    f"{FIGURES}/{figure_name}.{kind}",
                    category=f"Figures, paper {figure_name[0].upper()}",
                    caption=f"../report/{figure_name}.rst",
                    labels={"figure": figure_name, "form": FORMS[kind]},
                )
                for kind in figure.suffixes
                if kind in FORMS
            ],
            [f"{FIGURES}/{figure_name}.{kind}" for kind in figure.suffixes if kind not in FORMS],
        log:
            f"{LOGS}/{figure_name}.log",
        params:
            scale=SCALE,
            name=figure_name,
            code=code_version(*figure_code(figure)),
        message:
            f"draw {figure_name}"
        shell:
            "moe-replication figure {params.name} --scale {params.scale} > {log} 2>&1"
