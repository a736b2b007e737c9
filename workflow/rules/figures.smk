"""One job a figure; a figure's own code, not the training code, decides whether it is drawn again."""

FIGURE_CODE = ("figures/style.py", "figures/tables.py", "figures/paper_values.py", "statistics/intervals.py")

for figure_name, figure_module in figure_modules().items():

    rule:
        name:
            f"figure_{figure_name.replace('-', '_')}"
        input:
            TABLES,
            "config/paper_values.yaml",
        output:
            report(
                f"{FIGURES}/{figure_name}.png",
                category=f"Figures, paper {figure_name[0].upper()}",
                caption=f"../report/{figure_name}.rst",
                labels={"figure": figure_name},
            ),
            multiext(f"{FIGURES}/{figure_name}", ".pdf", ".csv"),
        log:
            f"{LOGS}/{figure_name}.log",
        params:
            scale=SCALE,
            name=figure_name,
            code=code_version(f"figures/{figure_module}.py", *FIGURE_CODE),
        message:
            f"draw {figure_name}"
        shell:
            "moe-replication figure {params.name} --scale {params.scale} > {log} 2>&1"
