"""Short passages with the experts of every token (paper A, Figures 4a and 19-21).

Legend: L MoE layers, N tokens, E experts.
"""

from __future__ import annotations

import numpy as np
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from moe_replication.evaluation.documents import Text
from moe_replication.evaluation.routing_probe import routed_batches
from moe_replication.models.gpt import GPT


def token_map_rows(model: GPT, text: Text, tokenizer: Tokenizer, samples: int, tokens: int) -> list[dict]:
    """Rows of the token map: the total over layers (layer None, no list of experts) and every layer."""
    rows = []
    for sample, passage in enumerate(passages(text, samples, tokens)):
        pieces = text_pieces(tokenizer, passage.ids[:-1].tolist())
        (batch,) = routed_batches(model, passage, passage.tokens, passage.tokens)
        losses, mask_LNE = batch.losses_N.tolist(), batch.mask_LNE.cpu()
        for position, (piece, loss) in enumerate(zip(pieces, losses, strict=True)):
            experts_L = [mask_E.nonzero().flatten().tolist() for mask_E in mask_LNE[:, position]]
            place = {"domain": text.domain, "sample": sample, "position": position, "text": piece, "loss": loss}
            total = sum(len(experts) for experts in experts_L)
            rows.append({**place, "layer": None, "fanout": total, "experts": None})
            for layer, experts in enumerate(experts_L):
                rows.append({**place, "layer": layer, "fanout": len(experts), "experts": experts})
    return rows


def passages(text: Text, samples: int, tokens: int) -> list[Text]:
    """The beginnings of the first documents that are long enough, of the longest ones where too few are."""
    ends_D = np.append(text.starts_D[1:], text.tokens)
    lengths_D = np.minimum(ends_D - text.starts_D, tokens)
    chosen = np.argsort(-lengths_D, kind="stable")[:samples]
    found = []
    for document in chosen.tolist():
        start = int(text.starts_D[document])
        ids = text.ids[start : start + int(lengths_D[document]) + 1]
        found.append(Text(domain=text.domain, ids=ids, starts_D=np.zeros(1, np.int64)))
    return found


def text_pieces(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    """Text of every token; a character of several tokens is shown by the last of them, the others are empty."""
    stream = DecodeStream(skip_special_tokens=False)
    return [stream.step(tokenizer, token) or "" for token in ids]
