"""Poisson's equation on star-shaped domains: the order of the solver, and data whose samples are those of their cases."""

import numpy as np
import pytest

from surrogax.datasets.star_domains import Law, disc, divided, law, solved, star_cases, star_domains
from surrogax.solvers.pde.linear_triangles import diffusion, triangles


def test_linear_functions_have_no_diffusion_inside():
    """The patch test, on a mapped mesh; and the boundary is that of the disc, also of the divided mesh."""
    for mesh in (coarse := disc(60, seed=0), divided(coarse)):
        cells = triangles(law(np.random.default_rng(1)).mapped(mesh.points), mesh.cells)
        np.testing.assert_array_equal(cells.boundary, np.sort(mesh.circle))
        matrix, inner = diffusion(cells, 2.0, []), np.setdiff1d(np.arange(len(mesh.points)), mesh.circle)
        u = cells.points @ [3.0, -1.0] + 2
        np.testing.assert_allclose((matrix @ u)[inner], 0, atol=1e-11)
        np.testing.assert_allclose(u @ matrix @ u, 2 * 10 * cells.areas.sum(), rtol=1e-12)  # ∫ a |∇u|²
        held = diffusion(cells, 2.0, mesh.circle)
        np.testing.assert_array_equal((held @ u)[mesh.circle], u[mesh.circle])


@pytest.mark.nightly
def test_on_the_unit_disc_the_solution_is_of_second_order():
    """u = (1 − r²)/4 for f = 1."""
    none = np.zeros(4)
    law = Law(none, none, 0.3, np.zeros((12, 2)), np.eye(12)[0], np.zeros(12))
    errors = []
    for mesh in (coarse := disc(60, seed=0), divided(coarse)):
        exact = (1 - (mesh.points**2).sum(1)) / 4
        (u,) = solved(mesh, [law])
        errors.append(np.linalg.norm(u - exact) / np.linalg.norm(exact))
    assert 1.6 < np.log2(errors[0] / errors[1]) < 2.6


@pytest.mark.nightly
def test_samples_are_those_of_their_cases():
    found, cases = star_domains(6, (40, 60), seed=3), star_cases(6, (40, 60), seed=3)
    data = found.data.read()
    for i, case in enumerate(cases[int(number)] for number in found.data.ids):
        points, real = case.law.mapped(case.mesh.points), data["mask"][i]
        assert real.sum() == len(points)
        np.testing.assert_allclose(data["points"][i][real], points, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(data["f"][i][real], case.law.source(points), rtol=1e-4, atol=1e-5)
        (u,) = solved(case.mesh, [case.law])
        assert np.linalg.norm(data["u"][i][real] - u) < 0.3 * np.linalg.norm(u)
        assert (data["u"][i][real][case.mesh.circle] == 0).all() and not data["u"][i][~real].any()
    assert 1e-3 < found.label_error < 0.1
