"""Routing rules: pure functions of float32 logits and explicit state, one file a rule.

A new rule is one file with a `select` function and one row in RULES.
"""

from moe_replication.routing import expert_choice, expert_threshold, softmax_top_k, token_choice
from moe_replication.routing.types import RoutingContext, RoutingState, Selection

RULES = {
    "token_choice": token_choice.select,
    "expert_choice": expert_choice.select,
    "expert_threshold": expert_threshold.select,
    "softmax_top_k": softmax_top_k.select,
}

__all__ = ["RULES", "RoutingContext", "RoutingState", "Selection"]
