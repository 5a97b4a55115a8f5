"""Learning the committor from segments: the training loop ("Learning ln I" in docs/theory.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..committor.mlp import Network
from ..committor.model import CommittorModel
from ..errors import InputError
from ..states.states import IN_A, IN_B
from .adam import Adam, set_training_state, training_state
from .fit_sample import PROBES, FitSample
from .losses import bounded_product, stopped_operator_loss
from .price import in_steps
from .residual import BackwardResidual
from .segment_data import SegmentData

__all__ = ["Trainer"]

_RESIDUAL_BOUND = 3.0  # residuals beyond this (next to A, where ln I diverges) do not pull any harder
_BLOCK = 4096  # segments to evaluate at a time
_USES_OF_SEGMENT, _USES_OF_PLACE = 4, 12  # in one fit, on average, where there are more than enough
_MOST_CHANGES = 100_000  # of all features with a moving coordinate of a place: computed before a fit
_MOST_BYTES = 128_000_000  # that these may take
_LOG_OF_ZERO = -1.0e4  # ln I in A: finite, so that no inf - inf can appear, and exp() of it is exactly zero


@dataclass(frozen=True)
class _Targets:
    """ln I of the frozen reference at the starts of segments, and the ratio to it that each has seen."""

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
        self.spread = np.asarray(spread, dtype=np.float32)
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
        sweeps: int = 1,
    ) -> dict[str, float]:
        """Train against the present model as reference.

        A tenth of the segments is held out. The model whose loss on them was least, of those looked at, is kept, and
        training stops once the loss has failed to improve twice in a row. Of very many segments a part is drawn.

        Parameters
        ----------
        segments : SegmentData
        rng : numpy.random.Generator
            Shuffles, chooses the held-out segments, and draws the probes of the residual.
        updates : int
            Gradient steps of a sweep, at most.
        learning_rate : float
            Decays to a tenth over the updates of each sweep.
        check : int
            Gradient steps between looks at the held-out loss.
        larger : int
            Factor on both batches. Small ones learn as much per step and cost less, but leave more noise at the end.
        sweeps : int
            Each makes the model as it is then the reference.

        Returns
        -------
        dict
            Of the last sweep ``loss``, ``heldout_loss`` (after), ``heldout_gain`` (before minus after), ``residual`` (root
            mean square over the held-out places, before; 0 without weight), ``sd_log_importance`` and ``mean_ratio``; of
            all of them ``updates`` and ``price``, in steps of a walker.

        Raises
        ------
        ValueError
            If the loss becomes NaN.
        """
        sample, taken = self._sample(segments, rng, sweeps * updates * larger), 0.0
        for _ in range(sweeps):
            report = self._sweep(sample, rng, updates, learning_rate, check, larger)
            taken += report["updates"]
        return report | {"updates": taken, "price": self.price(taken, larger)}

    def price(self, updates: float, larger: int = 1) -> float:
        """Steps of a walker that take as long as so many gradient steps, at a fixed rate."""
        weights = sum(weight.numel() for weight in self.network.weights)
        # at the places themselves the gradient and what the drift does are differentiated as well
        places = self.residual_batch * (1 + 2 * PROBES + 3) if self.residual_weight > 0.0 else 0
        # two operations for each weight and column, in three passes
        return in_steps(updates, 6.0 * weights * larger * (self.batch + places), len(self.spread))

    def _sweep(
        self, sample: FitSample, rng: np.random.Generator, updates: int, learning_rate: float, check: int, larger: int
    ) -> dict[str, float]:
        """Train against the model as it is now."""
        targets = self._targets(sample)
        before, residual = self._heldout(sample, targets)
        best, losses = _BestModel(self.model, before), []
        for number in range(updates):
            rate = learning_rate * 0.1 ** (number / max(updates - 1, 1))
            losses.append(self._update(sample, targets, rng, larger, rate))
            if number % check == check - 1 or number == updates - 1:
                best.look(self._heldout(sample, targets)[0], certain=not sample.n_held)
                if best.failures == 2:
                    break
        self.model.set_tensors(best.tensors)
        return {
            "loss": float(np.mean(losses[-check:])),
            "heldout_loss": best.loss,
            "heldout_gain": before - best.loss,
            "residual": residual,
            "sd_log_importance": float(targets.reference.std()),
            "mean_ratio": float(targets.ratio.mean()),
            "updates": float(len(losses)),
        }

    def _sample(self, segments: SegmentData, rng: np.random.Generator, updates: int) -> FitSample:
        """As many segments and places as so many updates can make use of."""
        n_segments = max(updates * self.batch // _USES_OF_SEGMENT, self.batch)
        n_places = max(min(updates * self.residual_batch // _USES_OF_PLACE, self._most_places()), self.residual_batch)
        about = (n_segments, n_places if self.residual_weight > 0.0 else 0, self.spread)
        return FitSample.draw(self.model, segments, rng, *about)

    def _most_places(self) -> int:
        """Places whose changes are neither too many nor too large."""
        n_moving = max(int(np.count_nonzero(self.spread)), 1)
        return min(_MOST_CHANGES // n_moving, _MOST_BYTES // (4 * n_moving * self.model.descriptor.n_features))

    def _targets(self, sample: FitSample) -> _Targets:
        reference, end = (self._log_importance(each).double().numpy() for each in (sample.start, sample.end))
        status = sample.segments.status
        end = np.where(status == IN_B, 0.0, np.where(status == IN_A, _LOG_OF_ZERO, end))
        ratio = np.exp(np.minimum(sample.segments.log_weight + end - reference, 4.0))
        return _Targets(*(torch.as_tensor(array, dtype=torch.float32) for array in (reference, ratio)))

    def _log_importance(self, features: Tensor) -> Tensor:
        """ln I, shape (n,), of standardized features."""
        return torch.cat([self.network.forward(block.T).log_importance() for block in features.split(_BLOCK)])

    def _squared_residual(self, residual: BackwardResidual) -> tuple[Tensor, Tensor]:
        """Weighted square of every residual, (n,), and its derivative with respect to the two estimates, (2, n)."""
        square, slope = bounded_product(self.residual_steps * residual.value, _RESIDUAL_BOUND)
        return self.residual_weight * square, self.residual_weight * self.residual_steps * slope

    def _update(
        self, sample: FitSample, targets: _Targets, rng: np.random.Generator, larger: int, learning_rate: float
    ) -> float:
        """One gradient step: all columns, of places and segments, go through the network together."""
        rows = _stretch(rng, sample.n_held, len(sample.start), larger * self.batch)
        columns, slopes, places, loss = [sample.start[rows]], [], None, 0.0
        if sample.places is not None:
            n = larger * self.residual_batch
            places = sample.places.take(_stretch(rng, sample.n_held_places, len(sample.places), n))
            columns.insert(0, places.columns())
        at, gradient = self.network.forward(torch.cat(columns).T), self.network.zeros()
        change: tuple = ()
        if places is not None:
            residual = BackwardResidual(self.network, places, at)
            square, slope = self._squared_residual(residual)
            by_logit, by_change = residual.slopes(slope / len(places))
            slopes, change, loss = [by_logit], (residual.change, by_change), square.mean().item()
        n = rows.stop - rows.start
        log_importance = torch.nn.functional.logsigmoid(at.logit[0, -n:])
        each, slope = stopped_operator_loss(log_importance, targets.reference[rows], targets.ratio[rows])
        loss += each.mean().item()
        if not np.isfinite(loss):
            raise InputError(
                "the training loss is not finite: look for NaN in the weights of the segments and the forces at their starts"
            )
        slopes.append(slope * at.outer[0, -n:] / n)
        self.network.add_gradient(gradient, at, torch.cat(slopes)[None], *change)
        self.optimizer.step(torch.cat([piece.flatten() for piece in gradient]), learning_rate)
        return loss

    def _heldout(self, sample: FitSample, targets: _Targets) -> tuple[float, float]:
        """Held-out loss, and the root mean square residual over ``residual_steps`` steps in it."""
        n, square = sample.n_held, 0.0
        log_importance = self._log_importance(sample.start[:n]) if n else torch.zeros(0)
        total = stopped_operator_loss(log_importance, targets.reference[:n], targets.ratio[:n])[0].sum().item()
        if sample.places is not None and sample.n_held_places:
            places = sample.places.take(slice(sample.n_held_places))
            residual = BackwardResidual(self.network, places, self.network.forward(places.columns().T))
            square = self._squared_residual(residual)[0].mean().item()
        return total / max(n, 1) + square, float(np.sqrt(max(square, 0.0) / (self.residual_weight or 1.0)))

    def state(self) -> dict[str, np.ndarray]:
        """Model tensors and optimizer moments, named ``model/...`` and ``adam/...``."""
        return training_state(self.model, self.optimizer)

    def set_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Restore what :meth:`state` returned."""
        set_training_state(self.model, self.optimizer, arrays)


def _stretch(rng: np.random.Generator, first: int, end: int, n: int) -> slice:
    """Some n neighboring rows from ``first`` on, or as many as there are; they are in random order, and need not be copied."""
    n = min(n, end - first)
    start = int(rng.integers(first, end - n + 1))
    return slice(start, start + n)
