"""Text from a trained model, token by token, with the number of experts that worked on each token.

Legend: V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from unicodedata import category

import torch
from rich.console import Console
from rich.text import Text
from tokenizers import Tokenizer
from torch import Tensor

from moe_replication.data.tokenizer import BOS_ID, encode
from moe_replication.errors import BadInput
from moe_replication.evaluation.checkpoints import Snapshot
from moe_replication.layers.attention import KVCache
from moe_replication.models.gpt import GPT, GPTOutput
from moe_replication.routing import RoutingContext

# A character of UTF-8 has at most four bytes, and a byte-level token at least one.
_LONGEST_CHARACTER = 4
_UNDECODABLE = "\ufffd"
# Colour of a token by fan-out / target fan-out, up to and including the first number.
_SHADES = (
    (0.0, "black on #bdd7e7"),
    (0.5, "black on #feedde"),
    (1.0, "black on #fdbe85"),
    (2.0, "black on #fd8d3c"),
    (math.inf, "#ffffff on #a63603"),
)


@dataclass(frozen=True, kw_only=True)
class RoutedToken:
    """A token and its fan-out: routed experts that worked on it, summed over MoE layers."""

    id: int
    fanout: int


def at_step(found: list[Snapshot], step: int | None) -> Snapshot:
    """The snapshot after `step` steps, or the last; BadInput names the steps that there are."""
    for snapshot in reversed(found):
        if step in (None, snapshot.step):
            return snapshot
    raise BadInput(f"step = {step}: no such snapshot; choose from {', '.join(str(one.step) for one in found)}")


def generate(
    model: GPT, prompt_ids: list[int], *, max_new_tokens: int, temperature: float, top_k: int | None, seed: int
) -> Iterator[RoutedToken]:
    """New tokens one by one, until `max_new_tokens` or a document separator (`<|bos|>`, not yielded).

    Routing is causal, so nothing depends on what comes later. Temperature 0 takes the likeliest token; otherwise
    tokens are drawn from softmax(logits / temperature) over the `top_k` likeliest (None = all) with a generator of
    `seed` on the CPU, the same on every device. BadInput for values out of range, before anything is computed.
    """
    vocabulary = len(model.embedding)
    if not prompt_ids or not all(0 <= index < vocabulary for index in prompt_ids):
        raise BadInput(f"prompt_ids = {prompt_ids} must hold at least one id, each from 0 to {vocabulary - 1}")
    if max_new_tokens < 1:
        raise BadInput(f"tokens = {max_new_tokens} must be at least 1")
    if not 0 <= temperature < math.inf:
        raise BadInput(f"temperature = {temperature} must be 0 (the likeliest token) or above")
    if top_k is not None and top_k < 1:
        raise BadInput(f"top_k = {top_k} must be at least 1; leave it out for all tokens")
    return _tokens(model, prompt_ids, max_new_tokens, temperature, top_k, seed)


@torch.no_grad()
def _tokens(
    model: GPT, prompt_ids: list[int], max_new_tokens: int, temperature: float, top_k: int | None, seed: int
) -> Iterator[RoutedToken]:
    generator = torch.Generator().manual_seed(seed)
    caches = model.empty_caches()
    output = forward_next(model, prompt_ids, caches)
    for _ in range(max_new_tokens):
        logits_V = model.logits(output.hidden_BTD[0, -1]).cpu()
        chosen = sample(logits_V, temperature=temperature, top_k=top_k, generator=generator)
        if chosen == BOS_ID:
            return
        # The token's own pass tells its experts and gives the logits of the next one.
        output = forward_next(model, [chosen], caches)
        yield RoutedToken(id=chosen, fanout=fanouts(output)[-1])


@torch.no_grad()
def read_prompt(model: GPT, ids: list[int]) -> list[RoutedToken]:
    """The given tokens with the fan-out each has in context."""
    output = forward_next(model, ids, model.empty_caches())
    return [RoutedToken(id=token, fanout=count) for token, count in zip(ids, fanouts(output), strict=True)]


def forward_next(model: GPT, ids: list[int], caches: list[KVCache]) -> GPTOutput:
    """Causal pass of one sequence's next tokens, after those that `caches` already hold."""
    layers = model.moe_layers()
    temperature = layers[0].routing.evaluation_temperature if layers else 1.0
    context = RoutingContext(training=False, pool_tokens=len(ids), temperature=temperature)
    return model(torch.tensor([ids], device=model.embedding.device), context, caches)


def fanouts(output: GPTOutput) -> list[int]:
    """Routed experts of every token of a pass, summed over MoE layers; 0 in a dense model."""
    tokens = output.hidden_BTD.shape[:-1].numel()
    per_layer = [routed.selection.mask_NE.sum(dim=1) for routed in output.routing]
    return torch.stack(per_layer).sum(dim=0).tolist() if per_layer else [0] * tokens


def sample(logits_V: Tensor, *, temperature: float, top_k: int | None, generator: torch.Generator) -> int:
    """Index drawn from softmax(logits / temperature) over the `top_k` largest logits; the largest at temperature 0."""
    if temperature == 0:
        return int(logits_V.argmax())
    best = logits_V.topk(min(top_k or len(logits_V), len(logits_V)))
    # Below the best logit first, so that a tiny temperature overflows to probability 0 and not to NaN.
    odds = ((best.values - best.values[0]) / temperature).softmax(dim=0)
    drawn = torch.multinomial(odds, 1, generator=generator)
    return int(best.indices[drawn])


class TextPieces:
    """Text of a token stream; the bytes of a character that spans tokens wait for its last one."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.waiting: list[int] = []

    def push(self, token: int) -> str:
        """Printable text that `token` completes, perhaps none; control characters show as U+FFFD."""
        self.waiting.append(token)
        text = self.tokenizer.decode(self.waiting)
        if text.endswith(_UNDECODABLE) and len(self.waiting) < _LONGEST_CHARACTER:
            return ""
        return self.rest()

    def rest(self) -> str:
        """What still waits; bytes that are no character show as U+FFFD."""
        text, self.waiting = self.tokenizer.decode(self.waiting), []
        # A terminal obeys control characters, and a byte-level model can write any.
        return "".join(_UNDECODABLE if category(letter) == "Cc" and letter not in "\n\t" else letter for letter in text)


def show(
    console: Console,
    model: GPT,
    tokenizer: Tokenizer,
    prompt: str,
    *,
    max_new_tokens: int,
    temperature: float,
    top_k: int | None,
    seed: int,
    colour: bool,
) -> list[RoutedToken]:
    """Print the prompt (bold) and its continuation as it comes, then a line on the experts; returns all tokens.

    With `colour` the background of a token tells its fan-out; tokens that share a character take the last one's.
    """
    ids = encode(tokenizer, [prompt])[0]
    settings = {"max_new_tokens": max_new_tokens, "temperature": temperature, "top_k": top_k, "seed": seed}
    new = generate(model, ids, **settings)
    target = sum(layer.routing.top_k for layer in model.moe_layers())
    pieces, shown, style = TextPieces(tokenizer), [], ""
    for token in chain(read_prompt(model, ids), new):
        if colour:
            style = ("bold " if len(shown) < len(ids) else "") + (shade(token.fanout, target) if target else "")
        console.print(Text(pieces.push(token.id), style), end="")
        shown.append(token)
    console.print(Text(pieces.rest(), style))
    console.print(_summary(model, shown, target).append_text(legend(target) if colour and target else Text()))
    return shown


def _summary(model: GPT, shown: list[RoutedToken], target: int) -> Text:
    if not target:
        return Text("dense model: no routed experts")
    layers = len(model.moe_layers())
    mean = sum(token.fanout for token in shown) / len(shown)
    plural = "" if layers == 1 else "s"
    return Text(f"experts a token over {layers} MoE layer{plural}: mean {mean:.2f}, target {target}  ")


def shade(fanout: int, target: int) -> str:
    """rich style of a token's fan-out."""
    return next(style for limit, style in _SHADES if fanout <= limit * target)


def legend(target: int) -> Text:
    """The ranges of fan-out that have a colour of their own, each in its colour."""
    line, first = Text(), 0
    for limit, style in _SHADES:
        if limit == math.inf:
            line.append(f" {first} and more ", style)
        elif (last := math.floor(limit * target)) >= first:
            line.append(f" {first} " if first == last else f" {first}-{last} ", style)
            first = last + 1
    return line
