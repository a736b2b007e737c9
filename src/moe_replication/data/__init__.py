"""Text corpus, tokenizer, token shards, image sets and the order in which training reads them."""
