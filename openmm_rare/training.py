r"""Learning the committor: data, the two losses and the training loop (THEORY: section 5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .committor import CommittorModel
from .states import IN_A, IN_B

__all__ = ["SegmentData", "ShootingData", "Trainer", "binomial_loss", "stopped_operator_loss"]

_CHECK = 50  # gradient steps between looks at the held-out loss
_LOG_OF_ZERO = -1.0e4  # ln I in A: finite, so that no inf - inf can appear, and exp() of it is exactly zero


def binomial_loss(logit: Tensor, n_a: Tensor, n_b: Tensor) -> Tensor:
    r"""Negative log-likelihood per shot of shooting outcomes (Jung, Covino & Hummer 2019, eq. 3).

    Parameters
    ----------
    logit, n_a, n_b : Tensor, shape (n,)
        Committor logit and the numbers of shots that reached A and B.

    Notes
    -----
    Written with softplus, so that it stays finite for :math:`|q|` of hundreds in float32.
    """
    softplus = torch.nn.functional.softplus
    return (n_a * softplus(logit) + n_b * softplus(-logit)).sum() / (n_a + n_b).sum()


def stopped_operator_loss(log_importance: Tensor, reference: Tensor, ratio: Tensor) -> Tensor:
    r"""Loss whose minimum is :math:`\ln I = \ln E[w I_{ref}(x_1)\,|\,x_0]`, the stopped transition operator.

    :math:`\mathrm{mean}[e^{u - u_{ref}} - \rho u]` with :math:`\rho = w I_{ref}(x_1)/I_{ref}(x_0)`.

    Parameters
    ----------
    log_importance, reference, ratio : Tensor, shape (n,)
        :math:`u(x_0)`, :math:`u_{ref}(x_0)` and :math:`\rho`.
    """
    change = log_importance - reference
    # beyond e^3 the exponential is continued as a straight line: a single outlier must not throw the network away
    bounded = change.clamp(max=3.0)
    return (torch.exp(bounded) * (1.0 + change - bounded) - ratio * change).mean()


@dataclass(frozen=True)
class ShootingData:
    """Shooting points with their outcomes.

    Attributes
    ----------
    positions : ndarray, shape (n, n_atoms, 3), nm
    n_a, n_b : ndarray, shape (n,)
        Shots from each point that reached A and B.
    """

    positions: np.ndarray
    n_a: np.ndarray
    n_b: np.ndarray


@dataclass(frozen=True)
class SegmentData:
    """Short biased trajectory segments.

    Attributes
    ----------
    start, end : ndarray of float32, shape (n, n_atoms, 3), nm
    log_weight : ndarray, shape (n,)
        ln of the likelihood ratio unbiased/biased of the segment.
    status : ndarray of int8, shape (n,)
        Where the end lies: 0 between the states, 1 in A, 2 in B.
    """

    start: np.ndarray
    end: np.ndarray
    log_weight: np.ndarray
    status: np.ndarray

    def __len__(self) -> int:
        return len(self.status)

    @staticmethod
    def concatenate(parts: list[SegmentData], most: int | None = None) -> SegmentData:
        """Join parts in order; with ``most``, keep the newest segments only."""
        names = ("start", "end", "log_weight", "status")
        joined = (np.concatenate([getattr(part, name) for part in parts]) for name in names)
        return SegmentData(*(array if most is None else array[-most:] for array in joined))


class Trainer:
    """Fits a model to segments with Adam; its whole state is a dictionary of arrays.

    Parameters
    ----------
    model : CommittorModel
        Trained in place.
    batch : int
        Segments per gradient step.
    """

    def __init__(self, model: CommittorModel, batch: int = 1024) -> None:
        self.model, self.batch = model, batch
        self.optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def fit(
        self, segments: SegmentData, rng: np.random.Generator, updates: int, learning_rate: float, held_out: float = 0.1
    ) -> dict[str, float]:
        """Train against the present model as reference.

        The held-out loss is watched while training; the best model seen is kept, and training stops once it has failed to
        improve twice in a row.

        Parameters
        ----------
        segments : SegmentData
        rng : numpy.random.Generator
            Shuffles and chooses the held-out segments.
        updates : int
            Gradient steps, at most.
        learning_rate : float
            Decays to a tenth over the updates.
        held_out : float
            Fraction of segments kept for early stopping.

        Returns
        -------
        dict
            ``loss``, ``heldout_loss`` (after), ``heldout_gain`` (before minus after), ``sd_log_importance``,
            ``mean_ratio`` and ``updates``.

        Raises
        ------
        ValueError
            If the loss becomes NaN.
        """
        features, reference, ratio = self._targets(segments)
        order = rng.permutation(len(segments))
        n_held = int(held_out * len(order))
        held, kept = torch.as_tensor(order[:n_held]), order[n_held:]
        best = before = self._heldout(features, reference, ratio, held)
        best_tensors, losses, failures = self.model.tensors(), [float("nan")], 0
        for number in range(updates):
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate * 0.1 ** (number / max(updates - 1, 1))
            rows = torch.as_tensor(rng.choice(kept, min(self.batch, len(kept))))
            losses.append(self._update(features, reference, ratio, rows))
            if number % _CHECK == _CHECK - 1 or number == updates - 1:
                now = self._heldout(features, reference, ratio, held)
                failures = 0 if now < best else failures + 1
                if now < best:
                    best, best_tensors = now, self.model.tensors()
                if failures == 2:
                    break
        self.model.set_tensors(best_tensors)
        return {
            "loss": float(np.mean(losses[-_CHECK:])),
            "heldout_loss": best,
            "heldout_gain": before - best,
            "sd_log_importance": float(reference.std()),
            "mean_ratio": float(ratio.mean()),
            "updates": float(len(losses) - 1),
        }

    def _targets(self, segments: SegmentData) -> tuple[Tensor, Tensor, Tensor]:
        reference = self.model.log_importance(segments.start)
        end = self.model.log_importance(segments.end)
        end = np.where(segments.status == IN_B, 0.0, np.where(segments.status == IN_A, _LOG_OF_ZERO, end))
        ratio = np.exp(np.minimum(segments.log_weight + end - reference, 4.0))
        with torch.no_grad():  # the descriptor has no parameters: one evaluation serves all updates
            blocks = [self.model.features(block) for block in torch.as_tensor(segments.start).float().split(8192)]
        targets = (torch.as_tensor(array, dtype=torch.float32) for array in (reference, ratio))
        return torch.cat(blocks), *targets

    def _update(self, features: Tensor, reference: Tensor, ratio: Tensor, rows: Tensor) -> float:
        loss = stopped_operator_loss(self.model.from_features(features[rows]), reference[rows], ratio[rows])
        if not torch.isfinite(loss):
            raise ValueError("the training loss is not finite: check the segments for non-finite weights")
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return loss.item()

    def _heldout(self, features: Tensor, reference: Tensor, ratio: Tensor, rows: Tensor) -> float:
        total = 0.0
        with torch.no_grad():
            for block in rows.split(8192):
                loss = stopped_operator_loss(self.model.from_features(features[block]), reference[block], ratio[block])
                total += len(block) * loss.item()
        return total / max(len(rows), 1)

    def state(self) -> dict[str, np.ndarray]:
        """Model tensors and optimizer moments, named ``model/...`` and ``adam/...``."""
        arrays = {f"model/{name}": value for name, value in self.model.tensors().items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            for name, value in moments.items():
                arrays[f"adam/{index}/{name}"] = value.detach().numpy().copy()
        return arrays

    def set_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Restore what :meth:`state` returned."""
        prefix = "model/"
        self.model.set_tensors({key[len(prefix) :]: value for key, value in arrays.items() if key.startswith(prefix)})
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in arrays.items():
            if key.startswith("adam/"):
                _, index, name = key.split("/")
                state.setdefault(int(index), {})[name] = torch.tensor(np.asarray(value))  # a copy: Adam works in place
        full = self.optimizer.state_dict()
        full["state"] = state
        self.optimizer.load_state_dict(full)
