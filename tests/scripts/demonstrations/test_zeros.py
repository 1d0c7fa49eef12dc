import pytest
import torch
from torch import nn

from nfsolve import MLP, Box, Sine
from nfsolve.fields import ReLU
from nfsolve.studies.analysis import Subject
from problems.signals.image import ImageFit
from scripts.demonstrations import zeros

LINE = Box(x=(-1, 1))


def test_dead_units_are_zeros_of_product_and_gradient_alike():
    x = torch.linspace(-1, 1, 30, dtype=torch.float64)[:, None]
    field = MLP(LINE, width=10, depth=2, activation=ReLU(), dtype=torch.float64)
    with torch.no_grad():
        field.body[1].linear.bias[:4] = -100.0  # never active
    found = zeros.zero_fractions("relu", 0, lambda: (field(x) - x).square().mean(), dict(field.named_parameters()))
    # rows and biases of the four units, and the four columns of the last layer
    dead = 4 * 10 + 4 + 4
    size = sum(p.numel() for p in field.parameters())
    assert found.product[0.0] == pytest.approx(found.gradient[0.0])
    assert found.product[0.0] >= dead / size
    assert found.both == 1
    assert found.layers["body.1.linear"] >= 44 / 110
    sine = MLP(LINE, width=10, depth=2, activation=Sine(30.0), dtype=torch.float64)
    found = zeros.zero_fractions("sine", 0, lambda: (sine(x) - x).square().mean(), dict(sine.named_parameters()))
    assert found.product[0.0] == found.gradient[0.0] == 0


def test_thresholds_are_relative_to_the_largest_entry_of_the_layer():
    weight = nn.Parameter(torch.tensor([1.0, 1.0, 1.0, 1.0], dtype=torch.float64))
    scale = torch.tensor([1.0, 1e-5, 1e-7, 0.0], dtype=torch.float64)
    found = zeros.zero_fractions("q", 0, lambda: (scale * weight.square()).sum(), {"w": weight})
    assert found.product == {0.0: 0.25, 1e-6: 0.5, 1e-4: 0.75}
    assert found.gradient == found.product


def test_zeros_by_activation_on_a_picture():
    problem = ImageFit(size=48, gray=True, batch=50)
    subject = Subject.of_field(problem, MLP.for_problem(problem, width=6, depth=2, activation=Sine(30.0)))
    result = zeros.analyse(subject, steps=2)
    assert [(row.name, row.step) for row in result.rows[:3]] == [("this problem", 0), ("sine", 0), ("sine", 2)]
    relu = [row for row in result.rows if row.name == "ReLU+PE"]
    assert all(row.product[0.0] == row.gradient[0.0] for row in relu)
    assert "this problem's on 50 points" in result.loss
    assert zeros.figure(result).axes
