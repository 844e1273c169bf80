"""The certified reduced basis on the thermal block: bounds against true errors, the online model, enrichment, the surrogate."""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest
import scipy.sparse as sp

import surrogax as sx
from surrogax.solvers.pde.affine import AffineSystem, Constants, Stacked
from surrogax.surrogates.reduced.certified.coercivity import MinTheta
from surrogax.surrogates.reduced.certified.full_order import full_order
from surrogax.surrogates.reduced.certified.greedy import CertifiedBasis, ErrorBound, weak_greedy
from surrogax.surrogates.reduced.certified.residual_bound import GramResidual
from surrogax.surrogates.reduced.galerkin import GalerkinRB
from surrogax.surrogates.reduced.interpolation.matrix_eim import Coefficient, matrix_eim

PROBLEM = sx.problem("thermal_block")
NAMES = tuple(PROBLEM.laws)
GRID = PROBLEM.box.grid(17)
SYSTEM = PROBLEM.affine(GRID)


def draw(n, seed):
    rng = np.random.default_rng(seed)
    return {name: 10 ** rng.uniform(-1, 1, n) for name in NAMES}


@pytest.fixture(scope="module")
def basis():
    mean = np.ones(SYSTEM.rhs[0].shape) / SYSTEM.rhs[0].size
    return weak_greedy(SYSTEM, draw(500, 0), tolerance=1e-9, functionals=(mean,))


@pytest.fixture(scope="module")
def truth(basis):
    """Coefficients and full solutions at 40 unseen parameters."""
    theta, phi = basis.space.full.coefficients(draw(40, 1))
    return theta, phi, np.stack([basis.space.full.solve(*c) for c in zip(theta, phi, strict=True)])


def energies(full, theta, errors):
    return np.sqrt([max(e @ full.combination(t, e), 0) for t, e in zip(theta, errors, strict=True)])


# Offline --------------------------------------------------------------------------------------------------------------


@pytest.mark.nightly
def test_full_solves_and_riesz_representers_are_exact(basis):
    full = basis.space.full
    matrices = [np.asarray(a.as_matrix(), np.float64) for a in SYSTEM.operators]
    b = full.rhs[0]
    theta = np.array([0.1, 10.0, 3.0, 0.5])
    np.testing.assert_allclose(
        full.solve(theta, np.ones(1)), np.linalg.solve(np.tensordot(theta, matrices, 1), b), rtol=1e-11
    )
    np.testing.assert_allclose(full.riesz(b[None])[0], np.linalg.solve(sum(matrices), b), rtol=1e-11)
    np.testing.assert_allclose(full.products(b), np.stack(matrices) @ b, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("kind", ["another product", "lineax", "sparse"])
def test_every_form_of_operators_is_solved(kind):
    """Products that are no Laplacian by iteration, other operators by their products, matrices by factorisation."""
    parts = PROBLEM.affine(PROBLEM.box.grid(6))
    dense = [np.asarray(a.as_matrix(), np.float64) for a in parts.operators]
    theta = np.array([1.0, 2.0, 0.5, 1.0])
    x = np.tensordot(theta, dense, 1)
    operators, rhs, inverse = parts.operators, parts.rhs, None
    if kind == "lineax":
        operators, rhs = [lx.MatrixLinearOperator(jnp.asarray(a), lx.symmetric_tag) for a in dense], [np.ones(16)]
        inverse = lambda r: jnp.linalg.solve(jnp.asarray(x), r)  # noqa: E731
    elif kind == "sparse":
        operators = [sp.csr_array(a) for a in dense]
    full = full_order(
        AffineSystem(tuple(operators), tuple(rhs), parts.coefficients, parts.rhs_coefficients), theta, inverse
    )
    b = np.arange(16.0)
    np.testing.assert_allclose(full.product(b), x @ b, rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(full.riesz(b[None])[0], np.linalg.solve(x, b), rtol=1e-9)
    if kind != "another product":
        a = np.array([0.1, 10.0, 3.0, 0.5])
        u = np.linalg.solve(np.tensordot(a, dense, 1), full.rhs[0])
        np.testing.assert_allclose(full.solve(a, np.ones(1)), u, rtol=1e-10)


def test_the_greedy_reaches_its_tolerance_and_solves_nothing_twice(basis):
    assert basis.bounds[-1] <= 1e-9 < basis.bounds[-2] and len(basis.bounds) == len(basis.space) + 1
    assert len(set(basis.solved)) == len(basis.solved) == len(basis.space) < 30
    np.testing.assert_allclose(basis.errors(basis.training).max(), basis.bounds[-1])
    theta, phi = basis.space.full.coefficients(jax.tree.map(lambda x: x[list(basis.solved)], basis.training))
    snapshots = np.stack([basis.space.full.solve(*c) for c in zip(theta, phi, strict=True)])
    reduced = basis.model().at(theta, phi)
    np.testing.assert_allclose(reduced.coefficients @ basis.space.basis, snapshots, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("norm", ["energy", "X"])
def test_bounds_hold_and_are_as_sharp_as_promised(basis, truth, norm):
    theta, phi, solutions = truth
    full = basis.space.full
    ratio = theta.max(1) / theta.min(1)  # at most γ/α
    for n in range(1, len(basis.space) + 1, 4):
        solution = CertifiedBasis.of(basis.space, basis.training, ErrorBound(norm=norm)).model(n).at(theta, phi)
        errors = solutions - solution.coefficients @ basis.space.basis[:n]
        true = energies(full, theta, errors) if norm == "energy" else np.array([full.norm(e) for e in errors])
        effectivity = solution.bound / true
        assert effectivity.min() > 1 - 1e-6, n
        assert (effectivity <= (ratio**0.5 if norm == "energy" else ratio) * (1 + 1e-6)).all(), n


def test_galerkin_is_the_best_in_the_energy_norm_and_outputs_are_bounded(basis, truth):
    theta, phi, solutions = truth
    full, b = basis.space.full, basis.space.full.rhs[0]
    solution = basis.model(8).at(theta, phi)
    errors = solutions - solution.coefficients @ basis.space.basis[:8]
    true = energies(full, theta, errors)
    for t, u, e in zip(theta[:5], solutions, true, strict=False):
        images = np.stack([full.combination(t, v) for v in basis.space.basis[:8]])
        best = np.linalg.solve(images @ basis.space.basis[:8].T, images @ u) @ basis.space.basis[:8]
        np.testing.assert_allclose(energies(full, t[None], (u - best)[None])[0], e, rtol=1e-6)
    np.testing.assert_allclose(solutions @ b - solution.compliance, true**2, rtol=1e-5)
    assert (true <= solution.bound).all()
    missed = np.abs(solutions.mean(1) - solution.outputs[:, 0])
    assert (missed <= solution.output_bounds[:, 0]).all() and solution.output_bounds.shape == (40, 1)
    np.testing.assert_allclose(
        solution.norm, energies(full, theta, solution.coefficients @ basis.space.basis[:8]), rtol=1e-9
    )


# Online ---------------------------------------------------------------------------------------------------------------


def test_the_online_model_never_touches_the_full_size(basis):
    model = eqx.tree_at(lambda m: m.basis, basis.model(), None)
    solution = jax.jit(lambda p: model(p))({name: 1.0 for name in NAMES})
    shapes = [x.shape for x in jax.tree.leaves(model) if hasattr(x, "shape")]
    assert max(map(np.prod, shapes)) <= (4 * len(basis.space) + 1) ** 2
    assert np.isfinite(solution.bound)


def test_single_and_double_precision_and_batches_agree(basis, truth):
    theta, phi, _ = truth
    parameters = draw(40, 1)
    host = basis.model(10).at(theta, phi)
    single = jax.jit(jax.vmap(basis.model(10).astype(jnp.float32)))(parameters)
    assert single.bound.dtype == jnp.float32
    with jax.enable_x64(True):
        double = jax.jit(jax.vmap(basis.model(10)))(parameters)
    for name in host._fields:
        np.testing.assert_allclose(getattr(double, name), getattr(host, name), rtol=1e-8, err_msg=name)
        rtol = 1e-3 if "bound" in name else 1e-4
        scale = np.abs(getattr(host, name)).max()
        np.testing.assert_allclose(
            getattr(single, name), getattr(host, name), rtol=rtol, atol=1e-5 * scale, err_msg=name
        )
    u = basis.model(10).astype(jnp.float32).field(single.coefficients)
    assert u.shape == (40, 15, 15)
    np.testing.assert_allclose(
        u.reshape(40, -1), host.coefficients @ basis.space.basis[:10], atol=1e-4 * np.abs(u).max()
    )


def test_outputs_and_bounds_are_differentiable(basis):
    model = basis.model(10)
    with jax.enable_x64(True):
        point = {name: jnp.asarray(v) for name, v in zip(NAMES, (0.3, 4.0, 1.0, 2.0), strict=True)}
        outputs = lambda p: jnp.stack([model(p).bound, model(p).compliance])  # noqa: E731
        function, gradient = jax.jit(outputs), jax.jit(jax.jacrev(outputs))(point)
        for name in NAMES:
            up, down = ({**point, name: point[name] + s * 1e-5} for s in (1, -1))
            np.testing.assert_allclose((function(up) - function(down)) / 2e-5, gradient[name], rtol=1e-5)


def test_parameters_outside_the_training_range_are_warned_of_and_served(basis):
    model = basis.model().astype(jnp.float32)
    inside = dict.fromkeys(NAMES, 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(inside)
        jax.jit(model.__call__)({**inside, "a_0_1": jnp.float32(50)})
    with pytest.warns(
        UserWarning, match=r"a_0_1 = 50.0 is outside the training range \[0.1\d*, 9.9\d*\]; see the bound"
    ):
        solution = model({**inside, "a_0_1": 50.0})
    assert np.isfinite(solution.bound)


def test_without_a_coercivity_bound_there_is_no_error_bound(basis):
    solution = basis.model().at(np.array([1.0, 1.0, 1.0, 0.0]), np.ones(1))
    assert solution.bound == np.inf and solution.output_bounds[0] == np.inf and np.isfinite(solution.compliance)


# Enrichment -----------------------------------------------------------------------------------------------------------


def test_enrichment_solves_only_where_the_bound_asks_for_it():
    small = weak_greedy(SYSTEM, draw(20, 2), tolerance=0.3)
    stream = draw(60, 3)
    grown = small.enriched(stream, 1e-4)
    added = len(grown.space) - len(small.space)
    assert 3 < added < 25 and len(small.space) == len(small.solved)
    assert (grown.errors(stream) <= 1e-4).all() and (small.errors(stream) > 1e-4).sum() > added
    assert len(grown.solved) == len(grown.space) and len(grown.training["a_0_0"]) == 20 + added
    assert grown.enriched(stream, 1e-4).space is grown.space


def test_enrichment_below_the_floor_solves_once_more_and_says_so(basis, monkeypatch):
    calls, solve = [], full_order(SYSTEM).solve
    monkeypatch.setattr(basis.space.full, "solve", lambda *c: calls.append(c) or solve(*c))
    again = jax.tree.map(lambda x: np.repeat(x[basis.solved[0]], 5), basis.training)
    with pytest.warns(UserWarning, match="the bound exceeds 1e-30 at a snapshot of the space, its floor") as found:
        grown = basis.enriched(again, 1e-30)
    assert len(calls) == len(found) == 1 and grown is basis


def test_a_greedy_at_its_floor_lists_only_what_it_added():
    twice = jax.tree.map(lambda x: np.repeat(x, 2), draw(2, 5))
    with pytest.warns(UserWarning, match=r"after 2 snapshots \(its floor\)"):
        found = weak_greedy(SYSTEM, twice, tolerance=1e-30)
    assert len(found.solved) == len(found.space) == 2


# Coefficients that are not affine --------------------------------------------------------------------------------------


def test_a_coefficient_that_is_not_affine_is_interpolated_and_certified_up_to_that():
    """−(g u')' = 1 with a bump g that moves; coercivity of the interpolated operator from its coefficient."""
    cells = 60
    middles, h = (np.arange(cells) + 0.5) / cells, 1 / cells
    bump = lambda mu, x: 0.1 + jnp.exp(-((x - mu) ** 2) / 0.02)  # noqa: E731

    def stiffness(mu):
        g = np.asarray(0.1 + np.exp(-((middles - mu) ** 2) / 0.02)) / h
        return sp.diags_array([-g[1:-1], g[:-1] + g[1:], -g[1:-1]], offsets=(-1, 0, 1))

    eim = matrix_eim(Coefficient(bump, middles), np.linspace(0.2, 0.8, 120), stiffness, rtol=1e-7)
    values = 0.1 + np.exp(-((middles - eim.parameters[:, None]) ** 2) / 0.02)
    coercivity = lambda beta: (beta @ values / values[0]).min(-1)  # noqa: E731
    system = AffineSystem(eim.matrices, (np.full(cells - 1, h),), eim.coefficients, Constants((1.0,)))
    reference = np.eye(len(eim.matrices))[0]
    basis = weak_greedy(
        system, np.linspace(0.2, 0.8, 200), tolerance=1e-4, reference=reference, bound=ErrorBound(coercivity=coercivity)
    )
    test = np.random.default_rng(0).uniform(0.2, 0.8, 20)
    theta, phi = basis.space.full.coefficients(test)
    assert not MinTheta(np.ones(len(reference)))(theta).any()  # coefficients of both signs
    solution = basis.model().at(theta, phi)
    for mu, c, bound, size in zip(test, solution.coefficients, solution.bound, solution.norm, strict=True):
        error = sp.linalg.spsolve(stiffness(mu).tocsc(), np.full(cells - 1, h)) - c @ basis.space.basis
        energy = (error @ (stiffness(mu) @ error)) ** 0.5
        assert energy <= bound + 1e-5 * size and bound <= 1e-4 * size
        assert bound <= 10 * energy + 1e-5 * size


# Failures -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inverse", [lambda r: 2 * r, lambda r: jnp.nan * r])
def test_a_wrong_inverse_of_the_product_is_refused(inverse):
    with pytest.raises(RuntimeError, match="X⁻¹ misses by"):
        weak_greedy(SYSTEM, draw(5, 0), inverse=inverse)


@pytest.mark.parametrize("kind", ["sparse", "lineax"])
def test_operators_that_are_not_symmetric_are_refused(kind):
    symmetric = np.diag(np.arange(1.0, 10))
    convection = symmetric + 1e-5 * np.eye(9, k=1)
    form = sp.csr_array if kind == "sparse" else lambda a: lx.MatrixLinearOperator(jnp.asarray(a))
    system = AffineSystem((form(symmetric), form(convection)), (np.ones(9),), Stacked(("a", "b")), Constants((1.0,)))
    with pytest.raises(ValueError, match="operator 1 of the affine system is not symmetric"):
        full_order(system)


def test_a_coercivity_bound_that_is_positive_nowhere_is_refused():
    with pytest.raises(ValueError, match=r"positive at no training parameter, 0 at most; .*successive_constraints"):
        weak_greedy(SYSTEM, draw(5, 0), bound=ErrorBound(coercivity=lambda theta: np.zeros(len(theta))))


def test_a_snapshot_of_the_space_changes_nothing(basis):
    space = basis.space.truncated(3)
    assert space.extended(space.basis.sum(0)) is space
    again = space.extended(basis.space.basis[3])
    assert len(again) == 4 and len(again.residuals) <= 17


def test_a_right_hand_side_of_zero_is_solved_exactly():
    system = AffineSystem(SYSTEM.operators, (np.zeros((15, 15)),), SYSTEM.coefficients, SYSTEM.rhs_coefficients)
    found = weak_greedy(system, draw(5, 0))
    assert len(found.space) == 0 and found.bounds == (0.0,)


def test_bad_input(basis):
    full = basis.space.full
    with pytest.raises(ValueError, match="a snapshot holds NaN or infinity"):
        basis.space.extended(np.full(225, np.nan))
    with pytest.raises(ValueError, match=r"tolerance=1e-10 is below the floor 1.5e-08 of the Gram form"):
        weak_greedy(SYSTEM, draw(5, 0), tolerance=1e-10, bound=ErrorBound(residual=GramResidual))
    with pytest.raises(ValueError, match=r"reference has shape \(2,\); expected one value for each operator, \(4,\)"):
        full_order(SYSTEM, (1.0, 1.0))
    with pytest.raises(ValueError, match="is not positive definite"):
        full_order(SYSTEM, -np.ones(4), inverse=lambda r: -r)
    with pytest.raises(RuntimeError, match=r"full solve at coefficients .*: breakdown"):
        full.solve(-np.ones(4), np.ones(1))
    with pytest.warns(UserWarning, match="the bound is .* after 2 snapshots, above 1e-06"):
        weak_greedy(SYSTEM, draw(20, 0), max_basis=2)
    with pytest.warns(UserWarning, match=r"the bound is .* snapshots \(its floor\), above 1e-20"):
        weak_greedy(SYSTEM, draw(3, 0), tolerance=1e-20)
    gram = weak_greedy(SYSTEM, draw(20, 0), tolerance=1e-3, bound=ErrorBound(residual=GramResidual))
    np.testing.assert_allclose(gram.bounds, weak_greedy(SYSTEM, draw(20, 0), tolerance=1e-3).bounds, rtol=1e-4)


# The surrogate --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def splits(basis):
    parameters = draw(60, 7)
    coefficients = basis.space.full.coefficients(parameters)
    solutions = [np.pad(basis.space.full.solve(*c).reshape(15, 15), 1) for c in zip(*coefficients, strict=True)]
    data = sx.from_arrays(
        targets={"u": np.float32(solutions)}, parameters=jax.tree.map(np.float32, parameters), grid=GRID
    )
    return data.split(train=40, val=10, test=10)


@pytest.mark.filterwarnings("ignore:.* is outside the training range")
@pytest.mark.quick("greedy")
@pytest.mark.parametrize("kind", ["pod", "greedy"])
def test_the_surrogate_is_as_good_as_its_basis_and_keeps_the_contract(kind, basis, splits):
    train, val, test = splits
    task = sx.Task.fit(train, NAMES, "u")
    fitted = sx.fit(GalerkinRB(task, PROBLEM, rank=12, basis=kind, tolerance=0.1), train, val=val).best
    u, expected = fitted.predict(test)["u"], test["u"]
    energy = lambda v: np.array([basis_norm(x) for x in v])  # noqa: E731
    errors = energy(u - expected) / energy(expected)
    assert 1e-5 < fitted.projection_error < 1e-2 and errors.mean() < 4 * fitted.projection_error
    bounds = np.array(
        [fitted.bound(dict(zip(NAMES, mu, strict=True))) for mu in np.float64([test[n] for n in NAMES]).T]
    )
    theta = np.stack([test[name] for name in NAMES], 1)
    true = energies(basis.space.full, theta, np.float64(u - expected)[:, 1:-1, 1:-1].reshape(10, -1))
    assert (true <= bounds * 1.001).all()
    if kind == "pod":
        sx.check_surrogate(fitted, test)
    fine = fitted.predict(test, at=PROBLEM.box.grid(33))["u"]
    np.testing.assert_allclose(fine[:, ::2, ::2], u, rtol=1e-5, atol=1e-7)


@pytest.mark.nightly
def test_the_surrogate_knows_its_range_and_bounds_in_double_precision(basis, splits, tmp_path):
    train, _, test = splits
    outside = sx.from_arrays(
        targets={"u": test["u"]},
        parameters={**{name: test[name] for name in NAMES}, "a_0_1": 3 * test["a_0_1"]},
        grid=GRID,
    )
    fitted = sx.fit(GalerkinRB(sx.Task.fit(train, NAMES, "u"), PROBLEM, basis="greedy", tolerance=1e-8), train).best
    with pytest.warns(UserWarning, match="6 of 10 samples have a_0_1 outside the training range"):
        fitted.predict(outside)
    fitted.save(tmp_path / "model")
    sample = {name: train[name][3] for name in NAMES}
    bound, again = fitted.bound(sample), sx.load(tmp_path / "model").bound(sample)
    assert bound.dtype == np.float64 and bound == again
    host = fitted.model.value.at(np.array([float(sample[name]) for name in NAMES]), np.ones(1))
    np.testing.assert_allclose(bound, host.bound, rtol=1e-6)
    assert 0 < bound <= 1.001e-8 * host.norm  # float32 ends at 1e-7
    with pytest.raises(TypeError, match="computes in float64 and cannot be traced"):
        jax.jit(lambda fields: fitted.bound(fields))(sample)


def basis_norm(u):
    return np.sqrt((np.diff(u, axis=0) ** 2).sum() + (np.diff(u, axis=1) ** 2).sum())


def test_the_surrogate_refuses_tasks_that_it_cannot_serve(splits):
    train, _, _ = splits
    task = sx.Task.fit(train, NAMES, "u")
    for make, message in (
        (lambda: GalerkinRB(task, sx.problem("darcy")), "GalerkinRB needs a problem that declares `affine`"),
        (lambda: GalerkinRB(task, PROBLEM, basis="random"), "unknown basis 'random'; use 'pod' or 'greedy'"),
        (
            lambda: GalerkinRB(sx.Task.fit(train, NAMES[:2], "u"), PROBLEM),
            r"needs the inputs \('a_0_0', .*the task has",
        ),
        (lambda: GalerkinRB(sx.Task.fit(train, targets="u"), PROBLEM), r"needs the inputs .*the task has \(\)"),
        (
            lambda: GalerkinRB(task, PROBLEM.replace(unknowns="v")),
            r"predicts the unknown \('v',\) of a steady",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            make()


def test_models_with_functions_of_the_user_cannot_be_saved(splits):
    train, _, _ = splits
    affine = lambda grid: AffineSystem(SYSTEM.operators, SYSTEM.rhs, lambda p: Stacked(NAMES)(p), Constants((1.0,)))  # noqa: E731
    problem = sx.Problem("u", PROBLEM.box, inputs=PROBLEM.inputs, affine=affine)
    fitted = sx.fit(
        GalerkinRB(sx.Task.fit(train, NAMES, "u"), problem, rank=3, basis="greedy", tolerance=10.0), train
    ).best
    assert not fitted.capabilities.savable
    with pytest.raises(ValueError, match="holds functions and cannot be saved"):
        fitted.save("never")
