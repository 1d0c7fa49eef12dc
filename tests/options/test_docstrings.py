import dataclasses
from dataclasses import dataclass
from functools import partial

import pytest

from nfsolve import fields, optim
from nfsolve._core.installed import problem_names
from nfsolve.options.docstrings import argument_texts, attribute_texts, description
from nfsolve.options.options import RunOptions, dataclass_of
from nfsolve.problem.names import KINDS, known
from nfsolve.problem.registry import find

NO_OPTIONS = ("domain", "outputs", "output_transform", "seed", "dtype", "device", "params", "objective")


@dataclass
class Silent:
    number: int = 1


@dataclass
class Spoken(Silent):
    """A class.

    With more to say.
    """


class Other(optim.ESGD):
    """Something else.

    Args:
        lr: My own rate (default: (1, 2)).
        damping:
            On the next line.
    """


def test_a_description_is_never_a_generated_signature(monkeypatch):
    assert (Silent.__doc__ or "").startswith("Silent(number")
    assert description(Silent) == ""
    assert description(Spoken) == "A class.\n\nWith more to say."
    monkeypatch.setitem(globals(), "__doc__", "First line.\n\nSecond.\n")
    assert description(Silent) == "First line."


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in KINDS for name in known(kind)])
def test_every_option_of_every_class_has_a_text(kind, name):
    options = dataclass_of(known(kind)[name], "options", NO_OPTIONS)
    texts = argument_texts(known(kind)[name])
    for option in getattr(options, "__dataclass_fields__", {}):
        assert texts[option], option
        assert f"    {option}: {texts[option]}\n" in (options.__doc__ or "")


def test_texts_come_from_the_class_itself_before_those_that_it_names_and_its_bases():
    nonlinear, plain = argument_texts(partial(fields.NonlinearDeepONet, width=3)), argument_texts(fields.DeepONet)
    assert nonlinear["depth"] == plain["depth"]
    assert nonlinear["latent"] == "Number of products in each sum."
    assert nonlinear["latent"] != plain["latent"]
    assert argument_texts(fields.ModifiedMLP)["width"] == argument_texts(fields.MLP)["width"]
    other = argument_texts(Other)
    assert other["lr"] == "My own rate."
    assert other["damping"] == "On the next line."
    assert other["refresh_every"] == argument_texts(optim.ESGD)["refresh_every"]


def test_texts_of_attributes_are_the_comments_and_docstrings_beside_them():
    assert attribute_texts(RunOptions)["seed"] == "Seed of weights and points."
    assert attribute_texts(RunOptions)["recipe"].endswith("are given.")  # the whole text, over several lines


def test_texts_for_a_terminal_have_no_marks_of_code():
    text = argument_texts(optim.GaussNewton)["form"]
    assert text.startswith("parameters (the P x P matrix J^T J), qr (") and "`" not in text


@pytest.mark.parametrize("name", sorted(problem_names()))
def test_every_parameter_of_every_problem_has_a_text(name):
    problem = find(name)
    texts = attribute_texts(problem)
    assert [f.name for f in dataclasses.fields(problem) if f.init and not texts.get(f.name)] == []
