"""Muon: momentum whose update is made orthogonal, for weights that are matrices (Jordan et al. 2024).

``torch.optim.Muon`` takes matrices only and computes in bfloat16, which is slow where there is no hardware for it;
here kernels are taken as (out, in * k * k) matrices, all of one shape in one batch, and in bfloat16 only where asked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch


def orthogonalised(matrices: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """Nearly the orthogonal factors of (n, rows, columns) matrices, rows <= columns, by a quintic Newton-Schulz
    iteration: singular values end between about 0.7 and 1.2."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x: torch.Tensor = matrices / (matrices.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(a * x, torch.baddbmm(b * gram, gram, gram, alpha=c), x)
    return x


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum, for parameters of two dimensions or more; ``half``: made orthogonal in bfloat16.

    Updates have root mean square 0.2 (Liu et al. 2025, Moonlight, section 2.2), so that learning rates of Adam fit.
    """

    def __init__(
        self,
        params: Iterable[torch.nn.Parameter],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        half: bool = False,
    ) -> None:
        self._dtype = torch.bfloat16 if half else torch.float32
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step along the gradients."""
        for group in self.param_groups:
            shapes: dict[tuple[int, int], list[tuple[torch.nn.Parameter, torch.Tensor]]] = defaultdict(list)
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                state["momentum"].lerp_(weight.grad, 1 - group["momentum"])
                update = weight.grad.lerp(state["momentum"], group["momentum"]).reshape(len(weight), -1)
                turned = update.mT if update.shape[0] > update.shape[1] else update
                shapes[turned.shape[0], turned.shape[1]].append((weight, turned))
            for (_, columns), entries in shapes.items():
                updates = orthogonalised(torch.stack([turned for _, turned in entries]).to(self._dtype))
                for (weight, _), update in zip(entries, updates, strict=True):
                    if weight.numel() // len(weight) < len(weight):
                        update = update.mT
                    weight.mul_(1 - group["lr"] * group["weight_decay"])
                    weight.add_(update.reshape(weight.shape), alpha=-group["lr"] * 0.2 * columns**0.5)
