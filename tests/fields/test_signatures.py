"""Constructors pass the arguments that they share on to their bases, and still say what they take."""

import inspect
from functools import partial

import pytest

from nfsolve import MLP, Box, InputError, fields
from nfsolve.fields import Field, Network, Operator
from nfsolve.options.options import dataclass_of
from nfsolve.problem.names import known

LINE = Box(x=(-1, 1))
COMMON = {"domain", "outputs", "output_transform", "seed", "dtype", "device"}
LAYERED = {"width", "depth", "activation", "encoding", "harmonics", "init"}
CLASSES = {name: kind for name, kind in known("field").items() if inspect.isclass(kind)}


@pytest.mark.parametrize("name", CLASSES)
def test_a_signature_names_every_argument_and_no_other(name):
    kind = CLASSES[name]
    found = inspect.signature(kind).parameters
    assert set(found) >= COMMON | (LAYERED if issubclass(kind, Network) else set())
    assert ("sensors" in found) == issubclass(kind, Operator)
    assert not any(p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL) for p in found.values())
    positional = [n for n, p in found.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional == ["domain", "outputs", "sensors"][: len(positional)]


@pytest.mark.parametrize("name", sorted(set(CLASSES) - {"pod_deeponet", "pca_net", "fno", "splines", "sum"}))
def test_an_unknown_argument_is_refused_with_the_nearest_one(name):
    with pytest.raises(InputError, match=f"unknown option of {CLASSES[name].__name__} 'widht': did you mean 'width'"):
        CLASSES[name](LINE, widht=3)


def test_the_nearest_class_gives_the_default():
    assert inspect.signature(fields.ResidualMLP).parameters["depth"].default == 2
    assert inspect.signature(MLP).parameters["depth"].default == 3
    assert fields.ResidualMLP(LINE).config["depth"] == 2
    assert inspect.signature(fields.NonlinearDeepONet).parameters["latent"].default == 16


def test_options_have_the_types_of_all_constructors_and_the_defaults_of_a_partial():
    made = dataclass_of(partial(fields.ShiftDeepONet, width=7), "field", ("domain", "outputs"))
    assert made is not None
    options = {f.name: (f.type, f.default_factory()) for f in made.__dataclass_fields__.values()}  # type: ignore[misc]
    assert options["width"] == (int, 7)
    assert options["frames"] == (int, 4)
    assert {"latent", "depth", "harmonics", "activation", "branch"} <= set(options)


def test_a_class_of_ones_own_passes_arguments_on_too():
    class Wide(MLP):
        def __init__(self, domain, outputs="u", *, factor: int = 2, width: int = 4, **options):
            super().__init__(domain, outputs, width=factor * width, **options)

    class Fixed(Field):
        def __init__(self, domain, outputs="u"):
            super().__init__(domain, outputs)

        def network(self, features):
            return features

    assert "depth" in inspect.signature(Wide).parameters
    assert Wide(LINE, factor=3, depth=1).config["width"] == 12
    assert list(inspect.signature(Fixed).parameters) == ["domain", "outputs"]
    assert list(inspect.signature(Fixed(LINE)).parameters) != ["domain", "outputs"]  # an instance takes points
