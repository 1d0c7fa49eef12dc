"""From words to a run: what a command line says of a problem."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from nfsolve import PDE, Box, InputError, Unknown, face, interior
from nfsolve.options.request import read_request


@dataclass
class Decay(PDE):
    """u_t = -k u."""

    k: Unknown = Unknown(2.0, positive=True)  # noqa: RUF009  # frozen
    """rate of decay"""
    shift: Unknown = field(default_factory=lambda: Unknown(-1.0))
    domain = Box(t=(0, 1))

    @interior
    def law(self, u, u_t):
        return u_t + self.k * u + self.shift

    @face(t=0)
    def start(self, u):
        return u - 1


def test_start_values_of_unknown_scalars_are_options(capsys):
    assert read_request(Decay, [], "run").problem.unknown_scalars() == Decay().unknown_scalars()
    problem = read_request(Decay, ["--k", "1e-3", "--shift=0", "--steps", "1"], "run").problem
    assert problem.unknown_scalars() == {"k": Unknown(1e-3, positive=True), "shift": Unknown(0.0)}
    with pytest.raises(SystemExit):
        read_request(Decay, ["--help"], "run")
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "--k FLOAT rate of decay, its start value (default: 2.0)" in text
    assert "--shift FLOAT its start value (default: -1.0)" in text


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "0"])
def test_start_values_are_checked(value):
    with pytest.raises(InputError, match="start value of an Unknown must be a positive number"):
        read_request(Decay, [f"--k={value}"], "run")
