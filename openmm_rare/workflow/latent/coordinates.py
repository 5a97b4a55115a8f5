"""The latent coordinates that a configuration asks for, and what can be seen to be wrong with them before any dynamics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ...config.run import RunConfig
from ...descriptors.completed import completed
from ...errors import InputError
from ...latent.embedding import Embedding
from ...latent.fitting import require_enough
from ...latent.metric import require_metric
from ...latent.violation import metric_violation
from ...problem import RareEventSystem
from ...settings.latent import LatentSettings
from ...structure.particles import masses_of

__all__ = ["embedding_of", "latent_settings", "require_possible", "unit_of"]

_COPIES, _SHAKE = 200, 0.01  # of the start structure, and by how much atoms are moved, nm
_LENGTHS = ("pair_distances", "sorted_distances", "coordinates")


def latent_settings(config: RunConfig, problem: RareEventSystem) -> LatentSettings:
    """Those of the configuration, with the descriptor spelled out."""
    settings = config.latent or LatentSettings()
    if settings.descriptor is None:
        return replace(settings, descriptor=problem.descriptor_spec())
    try:
        spec = completed(settings.descriptor, problem.system, problem.topology)
    except InputError as error:
        raise InputError(f"[latent]: {error}") from error
    return replace(settings, descriptor=spec)


def embedding_of(problem: RareEventSystem, settings: LatentSettings, descriptor: Mapping[str, Any] | None = None) -> Embedding:
    """The embedding of these settings, or of another descriptor.

    Raises
    ------
    ValueError
        If a site has no mass, or constraints join it with something else.
    """
    spec = settings.descriptor if descriptor is None else completed(descriptor, problem.system, problem.topology)
    assert spec is not None
    latents = settings.latents if descriptor is None else 0
    masses = masses_of(problem.system).tolist()
    embedding = Embedding(spec, masses, problem.num_dimensions, latents, settings.encoder_hidden)
    embedding.require_free_sites(problem.system)
    return embedding


def require_possible(embedding: Embedding, problem: RareEventSystem, settings: LatentSettings) -> None:
    """Look at shaken copies of the start structure: coordinates that depend on each other show at once, others if strict.

    So do numbers of frames, and a metric, that cannot be.

    Raises
    ------
    ValueError
    """
    require_metric(embedding, settings.metric)
    if not settings.trajectories:
        require_enough(settings.runs * settings.frames)
    if settings.latents:
        embedding = embedding_of(problem, replace(settings, latents=0))
    shake = np.random.default_rng(0).normal(scale=_SHAKE, size=(_COPIES, len(problem.positions), 3))
    shake *= np.arange(3) < problem.num_dimensions
    copies = problem.starts[np.arange(_COPIES) % len(problem.starts)] + shake
    report = metric_violation(embedding, copies, settings.tolerance)
    if report.is_dependent and not settings.latents:
        report.require(strict=False)
    if settings.strict and not settings.latents and max(report.fibre, np.nan_to_num(report.branches)) > settings.tolerance:
        report.require(strict=True)


def unit_of(embedding: Embedding) -> str:
    """Unit of the coordinates; empty where they have none, or several."""
    part = embedding.part
    is_length = part.get("kind") in _LENGTHS and part.get("scale", 1.0) == 1.0 and "matrix" not in part
    return "nm" if is_length and not embedding.latents else ""
