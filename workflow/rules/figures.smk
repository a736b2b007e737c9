"""One job a figure; a figure's own code, not the training code, decides whether it is drawn again."""

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
            name=figure_name,
            options=ALL_OPTIONS,
            code=code_version(f"figures/{figure_module}.py", "figures/style.py", "figures/tables.py"),
        message:
            f"draw {figure_name}"
        shell:
            "moe-replication figure {params.name} {params.options} > {log} 2>&1"
