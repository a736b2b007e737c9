"""Corpora, tokenizers, token shards and image sets; shared by all scales."""


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
        options=DATA_OPTIONS,
        code=code_version("data/sources.py", "data/hub_text.py", "data/shards.py", "data/tokenizer.py"),
    message:
        "tokenizer and shards {wildcards.name}"
    shell:
        "moe-replication prepare tokens {wildcards.name} {params.options} > {log} 2>&1"


rule images:
    output:
        f"{DATA}/images/{{name}}/manifest.json",
    log:
        "logs/data/images-{name}.log",
    priority: 80
    params:
        options=DATA_OPTIONS,
        code=code_version("data/images.py", "data/hub_images.py", "data/archives.py"),
    message:
        "image set {wildcards.name}"
    shell:
        "moe-replication prepare images {wildcards.name} {params.options} > {log} 2>&1"
