"""Experts: one dispatch, compute and combine path for every routing rule.

Legend: N tokens, D model width, H hidden width, E experts, A assignments (token, expert) chosen by the router.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moe_replication.layers.routed_ffn import RoutedFFN, SquaredReluFFN


def expert_ffn(x: Tensor, up_HD: Tensor, down_DH: Tensor) -> Tensor:
    """down(relu(up(x))^2) of (..., D), the feed-forward of paper A (section on models)."""
    y_ND = SquaredReluFFN.apply(x.reshape(-1, x.shape[-1]), up_HD, down_DH)
    return y_ND.reshape(*x.shape[:-1], len(down_DH))


class Experts(nn.Module):
    """Experts in tiers; experts of a tier share a hidden width and a stacked weight.

    Stored `per_expert`, weights are (expert, out, in): Muon then orthogonalises each expert's matrix by itself
    and scales it by sqrt(max(1, out/in)). Stored `concatenated`, a tier's experts stand one after the other along
    the hidden width in two tall matrices, (E*H, D) each with the down projections transposed, and Muon takes
    either for one matrix (paper A's released code under token choice).
    """

    def __init__(
        self, width: int, out_width: int, tiers: tuple[int, ...], hidden_widths: tuple[int, ...], storage: str
    ) -> None:
        super().__init__()
        pairs = list(zip(tiers, hidden_widths, strict=True))
        if storage == "concatenated":
            self.up = nn.ParameterList(torch.empty(count * hidden, width) for count, hidden in pairs)
            self.down = nn.ParameterList(torch.empty(count * hidden, out_width) for count, hidden in pairs)
        else:
            self.up = nn.ParameterList(torch.empty(count, hidden, width) for count, hidden in pairs)
            self.down = nn.ParameterList(torch.empty(count, out_width, hidden) for count, hidden in pairs)
        self.tiers, self.out_width, self.storage = tiers, out_width, storage

    def stacks(self) -> list[tuple[Tensor, Tensor]]:
        """(up_EHD, down_EDH) of every tier, whatever the storage."""
        pairs = zip(self.tiers, self.up, self.down, strict=True)
        if self.storage == "per_expert":
            return [(up, down) for _, up, down in pairs]
        return [(up.unflatten(0, (count, -1)), down.unflatten(0, (count, -1)).mT) for count, up, down in pairs]

    def forward(self, x_ND: Tensor, mask_NE: Tensor, gates_NE: Tensor) -> Tensor:
        """Sum over the masked experts of gate * expert(x), in x's dtype; gates weigh in float32."""
        expert_ids_A, token_ids_A = mask_NE.t().nonzero(as_tuple=True)
        gates_A, counts = gates_NE[token_ids_A, expert_ids_A], mask_NE.sum(dim=0).tolist()
        parts, first, assigned = [], 0, 0
        for count, (up_EHD, down_EDH) in zip(self.tiers, self.stacks(), strict=True):
            mine = counts[first : first + count]
            rows = slice(assigned, assigned + sum(mine))
            parts.append(RoutedFFN.apply(x_ND, up_EHD, down_EDH, gates_A[rows], token_ids_A[rows], mine))
            first, assigned = first + count, rows.stop
        return parts[0] if len(parts) == 1 else torch.stack(parts).sum(dim=0)

    def all_outputs(self, x_ND: Tensor) -> Tensor:
        """Output of every expert on every token, (E, N, D): for terms that compare experts."""
        tiers = []
        for up_EHD, down_EDH in self.stacks():
            hidden_ENH = F.relu(torch.matmul(x_ND, up_EHD.mT)).square()
            tiers.append(torch.bmm(hidden_ENH, down_EDH.mT))
        return torch.cat(tiers)
