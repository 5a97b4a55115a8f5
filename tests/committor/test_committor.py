"""Committor model: descriptors, gradients, fast inference, saving without pickle."""

import json

import numpy as np
import pytest
import torch

from openmm_rare.bias.importance import FastImportance, TorchImportance
from openmm_rare.committor.model import CommittorModel
from openmm_rare.descriptors.build import build_descriptor
from openmm_rare.descriptors.sorting import ascending, scatter, sorted_rows, sorted_values

SPECS = {
    "pair_distances": {"kind": "pair_distances"},
    "sorted_distances": {"kind": "sorted_distances"},
    "coordination": {"kind": "coordination", "radius": 0.4},
    "sorted_coordination": {"kind": "coordination", "radius": 0.4, "sorted": True},
    "coordination_moments": {"kind": "coordination_moments", "radius": 0.4},
    "disc_gap": {"kind": "disc_gap", "radius": 0.4, "center": [0.2, 0.1], "disc_radius": 0.15, "offset": 0.01},
    "coordinates": {"kind": "coordinates", "columns": [0, 4, 7], "scale": 0.2},
    "rotated": {"kind": "coordinates", "columns": [0, 1], "matrix": [[0.6, 0.8], [-0.8, 0.6]]},
    "dihedrals": {"kind": "dihedrals", "atoms": [[0, 1, 2, 3], [1, 2, 3, 4]]},
}
TOGETHER = ("sorted_coordination", "coordination_moments", "disc_gap", "sorted_distances", "pair_distances")
SPECS["pairs_together"] = {"kind": "concatenate", "parts": [SPECS[name] for name in TOGETHER]}
SPECS["mixed"] = {"kind": "concatenate", "parts": [SPECS["dihedrals"], SPECS["pair_distances"]]}


def frames(n=6, n_atoms=5, seed=0, plane=False):
    positions = np.random.default_rng(seed).normal(0.0, 0.3, (n, n_atoms, 3))
    if plane:
        positions[:, :, 2] = 0.0
    return positions


def model_of(name, seed=0):
    torch.manual_seed(seed)
    model = CommittorModel(SPECS[name], 5, hidden=(16, 12), temperature=310.0, fingerprint="f" * 64)
    model.standardize(frames(50, seed=1))
    return model


@pytest.mark.parametrize("name", SPECS)
def test_gradient_is_the_finite_difference(name):
    model, positions = model_of(name).double(), frames(3)
    x = torch.tensor(positions, requires_grad=True)
    model.descriptor.double()
    (gradient,) = torch.autograd.grad(model(x).sum(), x)
    step = 1e-6
    for frame, atom, axis in [(0, 0, 0), (1, 3, 1), (2, 4, 2), (2, 1, 0)]:
        shifted = [torch.tensor(positions), torch.tensor(positions)]
        shifted[0][frame, atom, axis] += step
        shifted[1][frame, atom, axis] -= step
        with torch.no_grad():
            difference = (model(shifted[0])[frame] - model(shifted[1])[frame]).item() / (2.0 * step)
        assert gradient[frame, atom, axis].item() == pytest.approx(difference, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("plane", [False, True])
@pytest.mark.parametrize("name", SPECS)
def test_fast_inference_agrees_with_torch(name, plane):
    if plane and name == "dihedrals":
        plane = False  # flat dihedrals are 0 or pi: their gradient is defined, their features constant
    model, positions = model_of(name), frames(40, plane=plane)
    value, gradient = TorchImportance(model).log_importance_gradient(positions)
    fast = FastImportance(model, 2 if plane else 3)
    fast_value, fast_gradient = fast.log_importance_gradient(positions)
    assert np.allclose(fast_value, value, rtol=1e-4, atol=1e-5)
    assert np.allclose(fast.log_importance(positions), fast_value)
    assert np.allclose(fast_gradient, gradient, rtol=2e-3, atol=2e-4 * max(1.0, np.abs(gradient).max()))
    one_value, one_gradient = fast.log_importance_gradient(positions[:1])
    assert np.allclose(one_gradient, fast_gradient[:1], atol=1e-4 * max(1.0, np.abs(gradient).max()))
    assert np.allclose(one_value, fast_value[:1], atol=1e-4)


def test_fast_inference_in_blocks_with_several_radii():
    parts = [
        {"kind": "coordination", "radius": radius, "sorted": in_order}
        for radius, in_order in ((0.5, True), (0.4, False), (0.3, True))
    ]
    parts += [{"kind": "coordination_moments", "radius": radius} for radius in (0.4, 0.5)]
    torch.manual_seed(0)
    model, positions = CommittorModel({"kind": "concatenate", "parts": parts}, 5, hidden=(16,)), frames(1500)
    model.standardize(positions)
    fast = FastImportance(model, 3)
    (value, gradient), (fast_value, fast_gradient) = (
        f.log_importance_gradient(positions) for f in (TorchImportance(model), fast)
    )
    assert np.allclose(fast_gradient, gradient, rtol=0.0, atol=2e-5 * np.abs(gradient).max())
    assert np.allclose(fast_value, value, rtol=1e-4, atol=1e-5)
    assert np.array_equal(fast.log_importance(positions), fast_value)
    again = np.empty(positions.size + 1)[1:].reshape(positions.shape)  # the same numbers elsewhere in memory
    again[:] = positions
    assert np.array_equal(fast.log_importance_gradient(again)[1], fast_gradient)


@pytest.mark.parametrize("n", [50, 5000])  # sorted by NumPy and by a network
@pytest.mark.parametrize("n_places", [1, 2, 5, 7, 8, 21, 50])
def test_sorting_and_its_inverse(n_places, n):
    values = np.random.default_rng(n_places).random((2, n_places, n), dtype=np.float32)
    values[:, :, 0] = 0.5
    indices = ascending(values)
    ordered = values.take(indices)
    assert np.array_equal(sorted_values(values), ordered)
    assert np.array_equal(ordered, np.sort(values, axis=1).transpose(1, 0, 2))
    assert np.array_equal(np.sort(indices, axis=None), np.arange(values.size))
    assert np.array_equal(scatter(ordered, indices, values.shape), values)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sorted_rows_and_their_gradient(dtype):
    values = torch.rand(40, 60, dtype=dtype, generator=torch.Generator().manual_seed(1)).requires_grad_()
    slope = torch.arange(60.0, dtype=dtype)
    expected, found = torch.sort(values, dim=1)[0], sorted_rows(values)
    assert torch.equal(found, expected)
    gradient, other = (torch.autograd.grad((each * slope).sum(), values)[0] for each in (expected, found))
    assert torch.equal(gradient, other) and not torch.equal(gradient, slope.expand(40, 60))
    traced = torch.jit.trace(sorted_rows, values[:, :5].detach())  # an order that is found elsewhere would be frozen into it
    assert torch.equal(traced(-values[:, :5]), torch.sort(-values[:, :5], dim=1)[0])


def test_fast_inference_is_frozen():
    model, positions = model_of("pair_distances"), frames()
    fast = FastImportance(model)
    before = fast.log_importance(positions)
    model.cool(100.0)
    assert np.array_equal(fast.log_importance(positions), before)
    assert not np.allclose(FastImportance(model).log_importance(positions), before)


def test_invariance_to_permutation_and_motion():
    model, positions = model_of("pairs_together"), frames()
    model = CommittorModel({"kind": "concatenate", "parts": [SPECS["sorted_coordination"], SPECS["sorted_distances"]]}, 5)
    angle = 0.7
    rotation = np.array([[np.cos(angle), -np.sin(angle), 0.0], [np.sin(angle), np.cos(angle), 0.0], [0.0, 0.0, 1.0]])
    moved = positions[:, [3, 0, 4, 1, 2]] @ rotation.T + 0.4
    assert np.allclose(model.log_importance(moved), model.log_importance(positions), atol=1e-5)
    assert not np.allclose(model.log_importance(1.1 * positions), model.log_importance(positions), atol=1e-5)


def test_log_importance_is_finite_for_huge_logits():
    model = model_of("pair_distances")
    with torch.no_grad():
        for parameter in model.network[-1].parameters():
            parameter.mul_(1e4)
    fast = FastImportance(model)
    value, gradient = fast.log_importance_gradient(frames(100))
    assert np.isfinite(value).all() and np.isfinite(gradient).all()
    assert (value <= 0.0).all() and value.min() < -200.0


def test_cooling_scales_the_logit():
    model, x = model_of("coordination"), torch.tensor(frames(), dtype=torch.float32)
    before = model.logit(x)
    model.cool(155.0)
    assert torch.allclose(model.logit(x), 2.0 * before, rtol=1e-5)
    assert model.temperature == 155.0


def test_save_and_load(tmp_path):
    model, path = model_of("pairs_together"), tmp_path / "model.npz"
    model.save(path)
    again = CommittorModel.load(path, fingerprint="f" * 64)
    assert np.array_equal(again.log_importance(frames()), model.log_importance(frames()))
    assert again.metadata() == model.metadata()
    with np.load(path, allow_pickle=False) as archive:
        assert json.loads(str(archive["metadata"]))["temperature_k"] == 310.0
    assert list(tmp_path.iterdir()) == [path]


def test_load_refuses_what_does_not_fit(tmp_path):
    path = tmp_path / "model.npz"
    model_of("coordination").save(path)
    with pytest.raises(ValueError, match="another system or other states"):
        CommittorModel.load(path, fingerprint="0" * 64)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match="not a readable committor model"):
        CommittorModel.load(path)
    with pytest.raises(FileNotFoundError):
        CommittorModel.load(tmp_path / "missing.npz")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"kind": "distances"}, "choose one of"),
        ({"kind": "coordination"}, "needs the key 'radius'"),
        ({"kind": "sorted_distances", "radius": 1.0}, "unknown keys"),
        ({**SPECS["disc_gap"], "offset": 0.0}, "positive offset"),
        ({**SPECS["disc_gap"], "center": [1.0]}, "two numbers"),
    ],
)
def test_bad_descriptor_specifications(spec, message):
    with pytest.raises(ValueError, match=message):
        build_descriptor(spec, 4)


def test_the_distance_from_a_disc_enters_the_logit_as_it_is():
    model, positions = model_of("pairs_together"), frames(200)
    with torch.no_grad():
        for parameter in model.network[-1].parameters():
            parameter.zero_()
        coordination = build_descriptor(SPECS["coordination"], 5)(torch.as_tensor(positions, dtype=torch.float32)).numpy()
    deviation = coordination - coordination.mean(1, keepdims=True)
    distance = np.hypot((deviation**2).mean(1) - 0.2, (deviation**3).mean(1) - 0.1)
    expected = np.log(np.maximum(distance - 0.15, 0.0) + 0.01)
    assert (distance < 0.15).any() and (distance > 0.15).any()
    for log_importance in (model.log_importance(positions), FastImportance(model).log_importance(positions)):
        np.testing.assert_allclose(log_importance, -np.log1p(np.exp(-expected)), atol=1e-3)
    with pytest.raises(AssertionError):  # negative control: without the disc
        np.testing.assert_allclose(log_importance, -np.log1p(np.exp(-np.log(distance + 0.01))), atol=1e-3)
