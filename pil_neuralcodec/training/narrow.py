"""A photo network with fewer channels, begun with those of a wider one that matter most.

Channels are pruned by what they contribute: mean activation times the norm of the weights that read them (Li et al.
2017 prune by weights alone). What a dropped channel gives on average goes on in the biases.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from ..flow.architecture import CHANNELS
from ..nets.shapes import LayerShape
from .photo import TrainablePhotoNet

_FEATURES = "features"
"""The channels that all stages and levels share: blocks and bands add to them."""


class _Ends(NamedTuple):
    """The sets of channels that a layer reads and writes, by name; None for pixels and for outputs."""

    reads: str | None
    writes: str | None


def _ends(shape: LayerShape) -> _Ends:
    place, kind = shape.name.rsplit(".", 1)
    if kind in ("embed", "a"):
        return _Ends(None if kind == "embed" else _FEATURES, place)
    if kind in ("inject", "b"):
        return _Ends(place, _FEATURES)
    return _Ends(_FEATURES, None if shape.is_output else _FEATURES)


def narrow(net: TrainablePhotoNet, wide: TrainablePhotoNet, planes: torch.Tensor, phases: torch.Tensor) -> None:
    """Begin ``net`` with channels of ``wide``, which has all its layers, as many of each set as it needs.

    ``planes`` (N, 3, H, W) and ``phases`` (N, 2), as of ``TrainablePhotoNet.forward``, show what ``wide`` makes of
    photographs.
    """
    means = _mean_inputs(wide, planes, phases)
    worth: dict[str, torch.Tensor] = {}
    for shape in net.shapes:
        if (reads := _ends(shape).reads) is not None:
            found = means[shape.name] * wide.layer(shape.name).weight.detach().square().sum((0, 2, 3)).sqrt()
            worth[reads] = worth.get(reads, 0) + found / found.sum()
    kept = {name: found.topk(net.arch.width).indices.sort().values for name, found in worth.items()}
    for shape in net.shapes:
        reads, writes = _ends(shape)
        old, new = wide.layer(shape.name), net.layer(shape.name)
        weight, bias = old.weight.detach(), old.bias.detach()
        if reads is not None:
            bias = bias + weight.sum((2, 3)) @ means[shape.name]
            weight = weight[:, kept[reads]]
            bias = bias - weight.sum((2, 3)) @ means[shape.name][kept[reads]]
        with torch.no_grad():
            new.weight.copy_(weight if writes is None else weight[kept[writes]])
            new.bias.copy_(bias if writes is None else bias[kept[writes]])


def _mean_inputs(net: TrainablePhotoNet, planes: torch.Tensor, phases: torch.Tensor) -> dict[str, torch.Tensor]:
    """The mean of each input channel of each layer."""
    seen: dict[str, list[torch.Tensor]] = {shape.name: [] for shape in net.shapes}
    hooks = [
        net.layer(name).register_forward_pre_hook(lambda _, given, to=to: to.append(given[0].mean((0, 2, 3))))
        for name, to in seen.items()
    ]
    with torch.no_grad():
        net(planes, CHANNELS, phases)
    for hook in hooks:
        hook.remove()
    return {name: torch.stack(found).mean(0) for name, found in seen.items()}
