"""Which modules decide each kind of prepared data: rules and interrupted work are tied to their version."""

CORPUS_CODE = ("data/corpus.py", "data/docstrings.py")
TOKEN_CODE = tuple(
    f"data/{name}.py"
    for name in (
        *("prepare", "sources", "hub", "hub_text", "docstrings", "tokenizer"),
        *("encode", "shard_writer", "token_progress", "shards"),
    )
)
IMAGE_CODE = tuple(
    f"data/{name}.py"
    for name in ("prepare", "images", "hub", "hub_images", "archives", "image_folders", "image_decoding")
)
DOMAIN_CODE = tuple(f"data/{name}.py" for name in ("prepare", "domains", "hub", "docstrings"))
