"""Networks that a committor model may have, built from a JSON-able specification."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from ..errors import InputError

__all__ = ["MLP", "architecture_spec", "build_network", "has_dropout", "input_layers"]

MLP: dict[str, Any] = {"kind": "mlp"}
"""The network that rate calculations and the native force know: plain layers with SiLU."""

_KEYS: dict[str, dict[str, float]] = {"mlp": {}, "selu": {"dropout": 0.0}, "residual": {"dropout": 0.0}}


class ResidualBlock(nn.Module):
    """:math:`x + W_2\\,\\mathrm{silu}(W_1 x)`, with a linear shortcut where the width changes, and for inputs of a network.

    The second layer starts at zero, so that an untrained block hands on its input.
    """

    def __init__(self, n_in: int, n_out: int, dropout: float, first: bool) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(n_in, n_out), nn.Linear(n_out, n_out)
        self.shortcut = nn.Linear(n_in, n_out, bias=False) if first or n_in != n_out else nn.Identity()
        self.dropout = nn.Dropout(dropout) if dropout > 0.0 else nn.Identity()
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs ``(n, n_out)`` of inputs ``(n, n_in)``."""
        return self.shortcut(inputs) + self.second(self.dropout(nn.functional.silu(self.first(inputs))))


def architecture_spec(spec: Mapping | None) -> dict[str, Any]:
    """A complete specification of a network, with the defaults of its kind.

    Parameters
    ----------
    spec : mapping, optional
        ``{"kind": "mlp"}`` (default): linear layers with SiLU. ``{"kind": "selu", "dropout": 0.1}``: the self-normalizing
        network of Klambauer et al. (2017), with alpha dropout. ``{"kind": "residual", "dropout": 0.0}``: residual blocks.

    Raises
    ------
    ValueError
        For an unknown kind or key, or a dropout outside [0, 1).
    """
    spec = dict(MLP if spec is None else spec)
    kind = spec.pop("kind", None)
    if kind not in _KEYS:
        raise InputError(f"network kind {kind!r} is unknown; choose one of {', '.join(sorted(_KEYS))}")
    unknown = set(spec) - set(_KEYS[kind])
    if unknown:
        raise InputError(f"network {kind!r} has unknown keys {sorted(unknown)}; it takes {sorted(_KEYS[kind]) or 'none'}")
    full = _KEYS[kind] | {key: float(value) for key, value in spec.items()}
    if not 0.0 <= full.get("dropout", 0.0) < 1.0:
        raise InputError(f"dropout = {full['dropout']} is a probability, at least 0 and below 1")
    return {"kind": kind, **full}


def build_network(spec: Mapping, n_inputs: int, hidden: Sequence[int], n_outputs: int) -> nn.Sequential:
    """A network whose last module is its linear output layer.

    Parameters
    ----------
    spec : mapping
        See :func:`architecture_spec`.
    n_inputs, n_outputs : int
    hidden : sequence of int
        Widths of the hidden layers, or of the residual blocks.
    """
    spec = architecture_spec(spec)
    make = {"mlp": _plain_layers, "selu": _selu_layers, "residual": _residual_blocks}[spec["kind"]]
    widths = [n_inputs, *hidden]
    network = nn.Sequential(*make(widths, spec.get("dropout", 0.0)), nn.Linear(widths[-1], n_outputs))
    if spec["kind"] == "selu":
        for layer in network:
            if isinstance(layer, nn.Linear):
                _lecun_normal(layer)
    return network


def input_layers(network: nn.Sequential) -> list[nn.Linear]:
    """The layers that the inputs enter: one, or two of a residual block."""
    first = network[0]
    return [first.first, first.shortcut] if isinstance(first, ResidualBlock) else [first]


def has_dropout(network: nn.Sequential) -> bool:
    """Whether a network drops units while it learns."""
    return any(isinstance(layer, (nn.Dropout, nn.AlphaDropout)) for layer in network.modules())


def _plain_layers(widths: list[int], dropout: float) -> list[nn.Module]:
    return [layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), nn.SiLU())]


def _selu_layers(widths: list[int], dropout: float) -> list[nn.Module]:
    kinds: list[Callable[[], nn.Module]] = [nn.SELU] + ([partial(nn.AlphaDropout, dropout)] if dropout > 0.0 else [])
    return [layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), *(kind() for kind in kinds))]


def _residual_blocks(widths: list[int], dropout: float) -> list[nn.Module]:
    return [ResidualBlock(*pair, dropout, first=number == 0) for number, pair in enumerate(pairwise(widths))]


def _lecun_normal(layer: nn.Linear) -> None:
    """Variance 1/fan-in, which keeps mean 0 and variance 1 from layer to layer: fan-out is wrong wherever widths differ."""
    nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
    nn.init.zeros_(layer.bias)
