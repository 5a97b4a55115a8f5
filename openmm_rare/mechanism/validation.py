"""Predicted committors against fresh shots: calibration, and the error of the model freed of the noise of the shots."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from ..errors import InputError
from .table import shot_losses

__all__ = ["FEWEST", "Calibration", "calibrate", "spread_over_q"]

FEWEST = 5
"""Configurations from which on a slope and its error are told: two always lie on a line."""

_SMALL_CURVATURE = 1e-12


@dataclass(frozen=True, eq=False)
class Calibration:
    """Predicted and sampled committors.

    Attributes
    ----------
    predicted, n_a, n_b : ndarray, shape (n,)
        Probability to reach B by the model, and the shots from each configuration that reached A and B.
    bin_predicted, bin_sampled, bin_stderr, bin_count : ndarray, shape (n_bins,)
        Mean prediction, fraction of shots that reached B with its error, and configurations of each bin that is not empty.
    slope, slope_stderr, intercept, intercept_stderr : float
        Of the sampled logit against the predicted one (logistic regression): 1 and 0 for a perfect model; NaN from fewer than
        five configurations.
    rmse, rmse_stderr : float
        Root mean square deviation of the predicted from the true probability, without the binomial noise of the shots.
    bias, bias_stderr : float
        Mean of predicted minus sampled probability.
    """

    predicted: np.ndarray
    n_a: np.ndarray
    n_b: np.ndarray
    bin_predicted: np.ndarray
    bin_sampled: np.ndarray
    bin_stderr: np.ndarray
    bin_count: np.ndarray
    slope: float
    slope_stderr: float
    intercept: float
    intercept_stderr: float
    rmse: float
    rmse_stderr: float
    bias: float
    bias_stderr: float

    @property
    def bin_bars(self) -> np.ndarray:
        """How far the 95 % intervals of the bins reach below and above, within 0 and 1, shape (2, n_bins)."""
        return np.minimum(1.96 * self.bin_stderr, [self.bin_sampled, 1.0 - self.bin_sampled])

    def summary(self) -> dict:
        """The single numbers, JSON-able."""
        names = ("slope", "intercept", "rmse", "bias")
        values = {key: float(getattr(self, key)) for name in names for key in (name, f"{name}_stderr")}
        return values | {"n_configurations": len(self.predicted), "n_shots": int((self.n_a + self.n_b).sum())}

    def rows(self) -> list[dict]:
        """One record for each bin."""
        names = ("predicted", "sampled", "stderr", "count")
        columns = (self.bin_predicted, self.bin_sampled, self.bin_stderr, self.bin_count)
        return [dict(zip(names, map(float, row), strict=True)) for row in zip(*columns, strict=True)]


def spread_over_q(logits: np.ndarray, n: int, rng: np.random.Generator, widest: float = 3.0) -> np.ndarray:
    """Indices of n configurations whose predicted logits are spread evenly over ``|q| < widest``, each chosen once.

    Parameters
    ----------
    logits : ndarray, shape (m,)
        Of the configurations to choose from.
    n : int
        All are taken if they are fewer.

    Raises
    ------
    ValueError
        If no configuration has a logit in the range.
    """
    order = np.flatnonzero(np.abs(logits) < widest)
    if not len(order):
        raise InputError(
            f"no configuration has a predicted logit between {-widest:g} and {widest:g}: the model says A or B of all"
        )
    order = rng.permutation(order)
    bins = np.floor((logits[order] + widest) / (2.0 * widest) * 10).astype(int)
    rank = np.zeros(len(order), dtype=int)  # the how-manieth of its bin
    for each in np.unique(bins):
        inside = np.flatnonzero(bins == each)
        rank[inside] = np.arange(len(inside))
    return order[np.argsort(rank, kind="stable")[:n]]


def calibrate(logits: np.ndarray, n_a: np.ndarray, n_b: np.ndarray, n_bins: int = 10) -> Calibration:
    """Compare predicted logits with fresh shots.

    Parameters
    ----------
    logits : ndarray, shape (n,)
        Predicted.
    n_a, n_b : ndarray, shape (n,)
        Fresh shots that reached A and B; at least 2 from each configuration.
    n_bins : int
        Equal bins of the predicted probability.

    Raises
    ------
    ValueError
        If there are fewer than 2 configurations or fewer than 2 shots from one.
    """
    logits, n_a, n_b = (np.asarray(each, dtype=np.float64) for each in (logits, n_a, n_b))
    shots = n_a + n_b
    if len(logits) < 2 or (shots < 2).any():
        raise InputError("a calibration needs 2 configurations or more, and 2 shots or more from each")
    p, sampled = expit(logits), n_b / shots
    line, error = _recalibration(logits, n_a, n_b) if len(logits) >= FEWEST else (np.full(2, np.nan), np.full(2, np.nan))
    square = (p - sampled) ** 2 - sampled * (1.0 - sampled) / (shots - 1.0)  # unbiased for the squared error of the model
    mean, spread = square.mean(), square.std(ddof=1) / np.sqrt(len(square))
    rmse = float(np.sqrt(max(mean, 0.0)))
    off = p - sampled
    return Calibration(
        p,
        n_a,
        n_b,
        *_bins(p, n_b, shots, n_bins),
        slope=line[1],
        slope_stderr=error[1],
        intercept=line[0],
        intercept_stderr=error[0],
        rmse=rmse,
        rmse_stderr=float(np.sqrt(max(mean + spread, 0.0)) - rmse) if rmse > 0.0 else float(np.sqrt(spread)),
        bias=float(off.mean()),
        bias_stderr=float(off.std(ddof=1) / np.sqrt(len(off))),
    )


def _bins(p: np.ndarray, n_b: np.ndarray, shots: np.ndarray, n_bins: int) -> tuple[np.ndarray, ...]:
    """Pooled shots of every bin that is not empty: mean prediction, fraction to B, its error, number of configurations.

    The error is the larger of the binomial one and the one from the spread of the configurations.
    """
    number = np.minimum((p * n_bins).astype(int), n_bins - 1)
    rows = []
    for each in np.unique(number):
        inside = number == each
        total = shots[inside].sum()
        fraction = n_b[inside].sum() / total
        smooth = (n_b[inside].sum() + 0.5) / (total + 1.0)
        binomial = np.sqrt(smooth * (1.0 - smooth) / total)
        count = int(inside.sum())
        residual = n_b[inside] - p[inside] * shots[inside]  # spread around the predictions: not the width of the bin
        between = residual.std(ddof=1) * np.sqrt(count) / total if count > 1 else 0.0
        rows.append((np.average(p[inside], weights=shots[inside]), fraction, max(binomial, between), count))
    return tuple(np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))


def _recalibration(logits: np.ndarray, n_a: np.ndarray, n_b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Intercept and slope of the most likely logit ``a + b q``, and their standard errors.

    Shots from one configuration share the model's error there, so that the errors are those that count configurations as
    independent, not shots (the sandwich estimator).
    """
    design = np.stack([np.ones_like(logits), logits], axis=1)

    def objective(line: np.ndarray) -> tuple[float, np.ndarray]:
        q = design @ line
        return shot_losses(q, n_a, n_b).sum(), design.T @ ((n_a + n_b) * expit(q) - n_b)

    line = minimize(objective, np.array([0.0, 1.0]), jac=True, method="BFGS").x
    p = expit(design @ line)
    score = design * ((n_a + n_b) * p - n_b)[:, None]
    curvature = design.T @ (design * ((n_a + n_b) * p * (1.0 - p))[:, None]) + _SMALL_CURVATURE * np.eye(2)
    inverse = np.linalg.inv(curvature)
    n = len(logits)
    covariance = inverse @ (score.T @ score) @ inverse * n / max(n - 2, 1)
    return line, np.sqrt(np.diag(covariance))
