"""Experts: one dispatch, compute and combine path for every routing rule.

Legend: N tokens, D model width, H hidden width, E experts, A assignments (token, expert) chosen by the router.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def expert_ffn(x_AD: Tensor, up_HD: Tensor, down_DH: Tensor) -> Tensor:
    """down(relu(up(x))^2), the feed-forward of paper A (section on models)."""
    return F.linear(F.relu(F.linear(x_AD, up_HD)).square(), down_DH)


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

    def matrices(self) -> list[tuple[Tensor, Tensor]]:
        """(up_HD, down_DH) of every expert in order.

        `unbind` gives one gradient for the whole stack; indexing would build a full-size zero per expert.
        """
        return [pair for up, down in self.stacks() for pair in zip(up.unbind(0), down.unbind(0), strict=True)]

    def forward(self, x_ND: Tensor, mask_NE: Tensor, gates_NE: Tensor) -> Tensor:
        """Sum over the masked experts of gate * expert(x), in x's dtype; gates weigh in float32."""
        expert_ids_A, token_ids_A = mask_NE.t().nonzero(as_tuple=True)
        counts = mask_NE.sum(dim=0).tolist()
        parts = x_ND[token_ids_A].split(counts)
        # An expert without tokens takes part with an empty slice, so its gradient is exactly zero.
        outputs = [expert_ffn(part, up, down) for part, (up, down) in zip(parts, self.matrices(), strict=True)]
        gates_A1 = gates_NE[token_ids_A, expert_ids_A].unsqueeze(-1)
        weighted_AD = (torch.cat(outputs).float() * gates_A1).to(x_ND.dtype)
        return x_ND.new_zeros(len(x_ND), self.out_width).index_add(0, token_ids_A, weighted_AD)

    def all_outputs(self, x_ND: Tensor) -> Tensor:
        """Output of every expert on every token, (E, N, D): for terms that compare experts."""
        tiers = []
        for up_EHD, down_EDH in self.stacks():
            hidden_ENH = F.relu(torch.matmul(x_ND, up_EHD.mT)).square()
            tiers.append(torch.bmm(hidden_ENH, down_EDH.mT))
        return torch.cat(tiers)
