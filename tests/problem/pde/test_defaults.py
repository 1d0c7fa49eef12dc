"""New defaults of inherited parameters, in the class of a user: they hold, or their absence is said."""

from dataclasses import dataclass

import pytest

import nfsolve as nf
from nfsolve._core.errors import InputError


class Plain(nf.PDE):
    domain = nf.Box(t=(0, 1), x=(0, 1))
    unknowns = "u"
    n_points = 300
    adaptive: str = "rad"

    @nf.interior
    def heat(self, u_t, u_xx):
        return u_t - u_xx


def test_a_default_in_a_class_without_dataclass_is_refused():
    with pytest.raises(InputError, match="`Plain` sets n_points, adaptive but is not a dataclass.*[Ww]rite @dataclass"):
        Plain()


def test_a_default_needs_no_type_of_its_own():
    @dataclass
    class Written(nf.PDE):
        domain = nf.Box(t=(0, 1), x=(0, 1))
        unknowns = "u"
        n_points = 300
        adaptive = "rad"

        @nf.interior
        def heat(self, u_t, u_xx):
            return u_t - u_xx

    assert (Written().n_points, Written().adaptive, Written(n_points=7).n_points) == (300, "rad", 7)


def test_an_init_of_the_users_own_sees_the_defaults_of_its_class():
    class Own(Plain):
        def __init__(self, nu):
            self.nu, self.sampler, self.n_face = nu, "sobol", 10

    assert Own(0.3).n_points == 300
