"""Labels of points overlap neither each other nor the points, and stay inside the axes."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.text import Text

import surrogax as sx
from surrogax.surrogates.evaluation.labels import place_labels
from surrogax.surrogates.evaluation.table import Row

NAMES = (
    "FNO",
    "F-FNO",
    "U-shaped FNO",
    "Transolver",
    "POD-GP",
    "POD-DeepONet",
    "mean",
    "linear spectral",
    "solver 33²",
    "U-Net",
)


def boxes(axes):
    """The box of every label, in pixels, by its text."""
    axes.figure.draw_without_rendering()
    return {text.get_text(): Text.get_window_extent(text) for text in axes.texts}


def overlap(a, b) -> float:
    sides = [
        min(getattr(a, f"{s}1"), getattr(b, f"{s}1")) - max(getattr(a, f"{s}0"), getattr(b, f"{s}0")) for s in "xy"
    ]
    return max(sides[0], 0) * max(sides[1], 0)


def assert_apart(axes, points):
    found = boxes(axes)
    assert set(found) == set(points)
    for a, b in itertools.combinations(found, 2):
        assert overlap(found[a], found[b]) == 0, (a, b)
    for name, box in found.items():
        assert (
            axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 and axes.bbox.y0 <= box.y0 and box.y1 <= axes.bbox.y1
        ), name
        for x, y in axes.transData.transform(list(points.values())):
            assert not (box.x0 < x < box.x1 and box.y0 < y < box.y1), name


def table(points) -> sx.Table:
    rows = [Row(n, 0, "test", "u", "rel_l2", None, y, None, 2 * x, x, 1000, None) for n, (x, y) in points.items()]
    return sx.Table(rows)


def test_labels_do_not_lie_on_the_front():
    points = {"first": (1.0, 0.3), "second": (4.0, 0.2), "third": (9.0, 0.02), "behind": (3.0, 0.35)}
    (axes,) = table(points).pareto().axes
    assert_apart(axes, points)
    corners = axes.transData.transform([(1.0, 0.3), (4.0, 0.3), (4.0, 0.2), (9.0, 0.2), (9.0, 0.02)])
    labels = boxes(axes).values()
    for a, b in itertools.pairwise(corners):
        for place in np.linspace(a, b, 200):
            assert not any(box.contains(*place) for box in labels)


@pytest.mark.parametrize("spread", [0.02, 0.3, 2.0])
def test_labels_of_a_crowded_pareto_plot_are_apart(spread):
    rng = np.random.default_rng(0)
    points = {name: tuple(np.exp(spread * rng.normal(size=2)) * (1.0, 0.02)) for name in NAMES}
    (axes,) = table(points).pareto().axes
    assert_apart(axes, points)


def test_equal_points_have_labels_side_by_side_and_lines_to_them():
    points = {name: (1.0, 0.02) for name in NAMES[:6]}
    (axes,) = table(points).pareto().axes
    assert_apart(axes, points)
    assert any(text.arrow_patch is not None for text in axes.texts)


def test_a_lone_label_is_beside_its_point_and_one_without_a_place_is_left_out():
    figure, axes = plt.subplots()
    axes.plot([0, 1], [0, 1], "o")
    axes.set_xscale("log")
    axes.set_xlim(0.25, 1)
    outside = [[np.nan, 1.0], [-1.0, 0.5], [0.1, 0.5]]
    place_labels(axes, np.array([[0.5, 0.5], *outside]), ["here", "nowhere", "not positive", "beyond the limits"])
    found = boxes(axes)
    assert list(found) == ["here"] and axes.texts[0].arrow_patch is None
    x, y = axes.transData.transform((0.5, 0.5))
    gap = np.hypot(max(found["here"].x0 - x, 0), max(found["here"].y0 - y, 0))
    assert gap < 10 * figure.dpi / 72
