"""Learning the committor: data and the training loop ("Learning ln I" in docs/theory.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..committor.mlp import Network
from ..committor.model import CommittorModel
from ..descriptors.by_hand import feature_columns
from ..dynamics.frames import Frames, Rows
from ..errors import InputError
from ..states.states import IN_A, IN_B
from .adam import Adam, set_training_state, training_state
from .losses import bounded_product, stopped_operator_loss
from .residual import BackwardResidual

__all__ = ["SegmentData", "Trainer"]

_RESIDUAL_BOUND = 3.0  # residuals beyond this (next to A, where ln I diverges) do not pull any harder
_BLOCK = 4096  # segments to evaluate at a time
_HELD_OUT = 0.1  # fraction of segments kept for early stopping
_HELD_PLACES = 1000  # held-out places at which the residual is looked at
_LOG_OF_ZERO = -1.0e4  # ln I in A: finite, so that no inf - inf can appear, and exp() of it is exactly zero


@dataclass(frozen=True)
class SegmentData(Rows):
    """Short biased trajectory segments.

    Attributes
    ----------
    start, end : Frames
        In single precision.
    log_weight : ndarray, shape (n,)
        ln of the likelihood ratio unbiased/biased of the segment.
    status : ndarray of int8, shape (n,)
        Where the end lies: 0 between the states, 1 in A, 2 in B.
    drift : ndarray of float32, shape (n, n_atoms, 3), nm
        Displacement of one step from the start by the physical forces.
    """

    start: Frames
    end: Frames
    log_weight: np.ndarray
    status: np.ndarray
    drift: np.ndarray

    def newest(self, most: int) -> SegmentData:
        """The last so many of them."""
        return self.take(slice(-most, None))


@dataclass(frozen=True)
class _Targets:
    """What a fit needs of its segments, as tensors: one row for each."""

    start: Tensor
    drift: Tensor
    features: Tensor
    reference: Tensor
    ratio: Tensor


class _BestModel:
    """The tensors of a model when its held-out loss was least, of those looked at, and the failures to improve since."""

    def __init__(self, model: CommittorModel, loss: float) -> None:
        self._model, self.loss, self.tensors, self.failures = model, loss, model.tensors(), 0

    def look(self, loss: float, certain: bool) -> None:
        """Take the model as it is now if it is better; `certain` takes it anyway, as with nothing held out."""
        self.failures = 0 if loss < self.loss else self.failures + 1
        if loss < self.loss or certain:
            self.loss, self.tensors = loss, self._model.tensors()


class Trainer:
    """Fits a model to segments with Adam; its whole state is a dictionary of arrays.

    The loss is that of the stopped operator, which carries what is known at A and B inwards, plus the squared residual of
    the backward equation, which makes the gradient of ln I, and so the bias, smooth and right.

    Parameters
    ----------
    model : CommittorModel
        Trained in place.
    spread : ndarray, shape (n_atoms, 3), nm
        Standard deviation of the noise of one step; 0 where nothing moves.
    batch, residual_batch : int
        Segments per gradient step for the two parts of the loss.
    residual_weight, residual_steps : float
        Weight of the squared residual (0: it is not computed), and the steps that it is added up over.
    """

    def __init__(
        self,
        model: CommittorModel,
        spread: np.ndarray,
        batch: int = 512,
        residual_batch: int = 256,
        residual_weight: float = 4.0,
        residual_steps: float = 20.0,
    ) -> None:
        self.model, self.batch, self.residual_batch = model, batch, residual_batch
        self.spread = torch.as_tensor(np.asarray(spread), dtype=torch.float32)
        self.residual_weight, self.residual_steps = residual_weight, residual_steps
        self.network, self.optimizer = Network.of_model(model), Adam(list(model.parameters()))

    def fit(
        self,
        segments: SegmentData,
        rng: np.random.Generator,
        updates: int,
        learning_rate: float,
        check: int = 50,
        larger: int = 1,
    ) -> dict[str, float]:
        """Train against the present model as reference.

        A tenth of the segments is held out. The model whose loss on them was least, of those looked at, is kept, and
        training stops once the loss has failed to improve twice in a row.

        Parameters
        ----------
        segments : SegmentData
        rng : numpy.random.Generator
            Shuffles, chooses the held-out segments, and draws the probes of the residual.
        updates : int
            Gradient steps, at most.
        learning_rate : float
            Decays to a tenth over the updates.
        check : int
            Gradient steps between looks at the held-out loss.
        larger : int
            Factor on both batches. Small ones learn as much per step and cost less, but leave more noise at the end.

        Returns
        -------
        dict
            ``loss``, ``heldout_loss`` (after), ``heldout_gain`` (before minus after), ``residual`` (root mean square over
            the held-out places, before; 0 without weight), ``sd_log_importance``, ``mean_ratio`` and ``updates``.

        Raises
        ------
        ValueError
            If the loss becomes NaN.
        """
        data = self._targets(segments)
        held, kept = np.split(rng.permutation(len(segments)), [int(_HELD_OUT * len(segments))])
        held_probes = self._probes(rng, min(len(held), _HELD_PLACES))
        before, residual = self._heldout(data, held, held_probes)
        best, losses = _BestModel(self.model, before), []
        for number in range(updates):
            losses.append(self._update(data, kept, rng, larger, learning_rate * 0.1 ** (number / max(updates - 1, 1))))
            if number % check == check - 1 or number == updates - 1:
                best.look(self._heldout(data, held, held_probes)[0], certain=not len(held))
                if best.failures == 2:
                    break
        self.model.set_tensors(best.tensors)
        return {
            "loss": float(np.mean(losses[-check:])),
            "heldout_loss": best.loss,
            "heldout_gain": before - best.loss,
            "residual": residual,
            "sd_log_importance": float(data.reference.std()),
            "mean_ratio": float(data.ratio.mean()),
            "updates": float(len(losses)),
        }

    def _targets(self, segments: SegmentData) -> _Targets:
        with torch.no_grad():  # the descriptor has no parameters: one evaluation of the starts serves all updates
            features, ends = (self._features(positions) for positions in (segments.start.positions, segments.end.positions))
            reference, end = (self._log_importance(each).double().numpy() for each in (features, ends))
        end = np.where(segments.status == IN_B, 0.0, np.where(segments.status == IN_A, _LOG_OF_ZERO, end))
        ratio = np.exp(np.minimum(segments.log_weight + end - reference, 4.0))
        start, drift = (torch.as_tensor(array, dtype=torch.float32) for array in (segments.start.positions, segments.drift))
        return _Targets(start, drift, features, *(torch.as_tensor(array, dtype=torch.float32) for array in (reference, ratio)))

    def _log_importance(self, inputs: Tensor) -> Tensor:
        """ln I, shape (n,), of standardized features."""
        return torch.nn.functional.logsigmoid(self.model.state_logits(inputs)[:, 1])

    def _features(self, positions: np.ndarray) -> Tensor:
        """Standardized features ``(n, n_features)``."""
        columns = torch.from_numpy(feature_columns(self.model.descriptor, positions))
        return self.model.standardized(columns.T.contiguous())

    def _probes(self, rng: np.random.Generator, n: int) -> Tensor:
        """Signs for two independent estimates of the residual, whose product has the mean of its square."""
        return torch.as_tensor(2.0 * rng.integers(0, 2, (2, n, *self.spread.shape)) - 1.0, dtype=torch.float32)

    def _residual(self, data: _Targets, rows: np.ndarray, probes: Tensor) -> BackwardResidual:
        return BackwardResidual(self.model, self.network, data.start[rows], data.drift[rows], self.spread, probes)

    def _squared_residual(self, residual: BackwardResidual) -> tuple[Tensor, Tensor]:
        """Weighted square of every residual, (n,), and its derivative with respect to the two estimates, (2, n)."""
        square, slope = bounded_product(self.residual_steps * residual.value, _RESIDUAL_BOUND)
        return self.residual_weight * square, self.residual_weight * self.residual_steps * slope

    def _update(self, data: _Targets, kept: np.ndarray, rng: np.random.Generator, larger: int, learning_rate: float) -> float:
        rows = rng.choice(kept, min(larger * self.batch, len(kept)))
        gradient = self.network.zeros()
        loss = self._add_segments(gradient, data, rows)
        if self.residual_weight > 0.0:
            places = rng.choice(kept, min(larger * self.residual_batch, len(kept)))
            loss += self._add_residual(gradient, data, places, self._probes(rng, len(places)))
        if not np.isfinite(loss):
            raise InputError(
                "the training loss is not finite: look for NaN in the weights of the segments and the forces at their starts"
            )
        self.optimizer.step(torch.cat([piece.flatten() for piece in gradient]), learning_rate)
        return loss

    def _add_segments(self, gradient: list[Tensor], data: _Targets, rows: np.ndarray) -> float:
        """Add the gradient of the mean loss of some segments; returns that loss."""
        at = self.network.forward(data.features[rows].T)
        loss, slope = stopped_operator_loss(at.log_importance(), data.reference[rows], data.ratio[rows])
        self.network.add_gradient(gradient, at, slope * at.outer / len(rows))
        return loss.mean().item()

    def _add_residual(self, gradient: list[Tensor], data: _Targets, rows: np.ndarray, probes: Tensor) -> float:
        """The same for the weighted squared residual at some places."""
        residual = self._residual(data, rows, probes)
        loss, slope = self._squared_residual(residual)
        residual.add_gradient(gradient, slope / len(rows))
        return loss.mean().item()

    def _heldout(self, data: _Targets, rows: np.ndarray, probes: Tensor) -> tuple[float, float]:
        """Held-out loss, and the root mean square residual over ``residual_steps`` steps in it."""
        total = square = 0.0
        for block in torch.as_tensor(rows).split(_BLOCK):
            log_importance = self.network.forward(data.features[block].T).log_importance()
            total += stopped_operator_loss(log_importance, data.reference[block], data.ratio[block])[0].sum().item()
        if len(rows) and self.residual_weight > 0.0:
            square = self._squared_residual(self._residual(data, rows[: probes.shape[1]], probes))[0].mean().item()
        return total / max(len(rows), 1) + square, float(np.sqrt(max(square, 0.0) / (self.residual_weight or 1.0)))

    def state(self) -> dict[str, np.ndarray]:
        """Model tensors and optimizer moments, named ``model/...`` and ``adam/...``."""
        return training_state(self.model, self.optimizer)

    def set_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Restore what :meth:`state` returned."""
        set_training_state(self.model, self.optimizer, arrays)
