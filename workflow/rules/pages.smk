"""Pages of the report: results by paper, discrepancies, environment and cost, checklist, and its first view."""

PAGES = [page_file(RESULTS, name).as_posix() for name in page_names(LETTERS)]


rule pages:
    input:
        f"{RESULTS}/scorecard.json",
        TABLES,
        COMPARISONS,
        [f"{FIGURES}/{name}.{kind}" for name, figure in PROJECT.figures.items() for kind in figure.suffixes],
        [f"workflow/report/{name}.rst" for name in PROJECT.figures],
        expand("config/papers/{paper}.yaml", paper=PROJECT.papers),
        f"config/scales/{SCALE}.yaml",
        "config/core.yaml",
        "config/data_sets.yaml",
        "config/paper_values.yaml",
        "config/planning.yaml",
        "config/probe.yaml",
        "docs/discrepancies.md",
    output:
        [
            report(
                page,
                category=SECTIONS[name],
                caption=f"../report/page-{name}.rst",
                labels={"page": SECTIONS[name].partition(" ")[2]},
            )
            for name, page in zip(page_names(LETTERS), PAGES)
            if name in SECTIONS
        ],
        [page for name, page in zip(page_names(LETTERS), PAGES) if name not in SECTIONS],
    log:
        f"{LOGS}/pages.log",
    params:
        scale=SCALE,
        code=code_version(*PAGES_CODE),
    message:
        "write the pages of the report"
    shell:
        "moe-replication pages --scale {params.scale} > {log} 2>&1"
