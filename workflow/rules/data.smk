"""Corpora, tokenizers, token shards and image sets; shared by all scales."""

TOKEN_CODE = [
    f"data/{name}.py" for name in ("prepare", "sources", "hub", "hub_text", "docstrings", "shards", "tokenizer")
]
IMAGE_CODE = [f"data/{name}.py" for name in ("prepare", "images", "hub", "hub_images", "archives")]


rule corpus:
    input:
        "config/corpora/embedded.yaml",
    output:
        f"{DATA}/corpora/embedded/manifest.json",
        f"{DATA}/corpora/embedded/documents.parquet",
    log:
        "logs/data/corpus.log",
    priority: 100
    params:
        folder=subpath(output[0], parent=True),
        code=code_version("data/corpus.py", "data/docstrings.py"),
    message:
        "collect the embedded text corpus"
    shell:
        "moe-replication prepare corpus --out {params.folder} > {log} 2>&1"


rule tokens:
    input:
        corpus_of_tokens,
    output:
        f"{DATA}/tokens/{{name}}/manifest.json",
    log:
        "logs/data/tokens-{name}.log",
    priority: 90
    params:
        root=lambda wildcards: text_root(wildcards.name),
        code=code_version(*TOKEN_CODE),
    message:
        "tokenizer and shards {wildcards.name}"
    shell:
        "moe-replication prepare tokens {wildcards.name} > {log} 2>&1"


rule images:
    output:
        f"{DATA}/images/{{name}}/manifest.json",
    log:
        "logs/data/images-{name}.log",
    priority: 80
    params:
        root=lambda wildcards: PROJECT.roots.get(wildcards.name),
        code=code_version(*IMAGE_CODE),
    message:
        "image set {wildcards.name}"
    shell:
        "moe-replication prepare images {wildcards.name} > {log} 2>&1"
