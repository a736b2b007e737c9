"""Corpora, tokenizers, token shards, image sets and probe texts; shared by all scales."""

from moe_replication.data.code import CORPUS_CODE, DOMAIN_CODE, IMAGE_CODE, TOKEN_CODE


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
        code=code_version(*CORPUS_CODE),
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
    threads: token_threads
    params:
        root=lambda wildcards: text_root(wildcards.name),
        code=code_version(*TOKEN_CODE),
    message:
        "tokenizer and shards {wildcards.name}"
    shell:
        "RAYON_NUM_THREADS={threads} moe-replication prepare tokens {wildcards.name} --workers {threads} > {log} 2>&1"


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


rule domains:
    input:
        "config/corpora/domains.yaml",
        lambda wildcards: rules.corpus.output if wildcards.name == "embedded" else [],
    output:
        f"{DATA}/domains/{{name}}/manifest.json",
        f"{DATA}/domains/{{name}}/documents.parquet",
    log:
        "logs/data/domains-{name}.log",
    priority: 80
    params:
        roots=lambda wildcards: domain_roots(wildcards.name),
        code=code_version(*DOMAIN_CODE),
    message:
        "probe texts {wildcards.name}"
    shell:
        "moe-replication prepare domains {wildcards.name} > {log} 2>&1"
