import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfsolve._core.errors import InputError
from nfsolve.diff import Name, parse


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("u", Name(0, ())),
        ("u_x", Name(0, (1,))),
        ("u_xx", Name(0, (1, 1))),
        ("v_tx", Name(1, (0, 1))),
        ("v_xt", Name(1, (0, 1))),
        ("u_xxxx", Name(0, (1, 1, 1, 1))),
    ],
)
def test_names_say_what_is_differentiated_along_what(text, name):
    assert parse(text, ("u", "v"), ("t", "x")) == name


def test_longer_names_are_cut_where_they_fit():
    assert parse("T_thetar", ("T",), ("r", "theta")) == Name(0, (0, 1))
    assert parse("u_in_x", ("u", "u_in"), ("x", "y")) == Name(1, (0,))


@given(st.lists(st.integers(0, 2), min_size=1, max_size=5))
def test_order_does_not_matter(along):
    text = "u_" + "".join("txy"[i] for i in along)
    assert parse(text, ("u",), ("t", "x", "y")).along == tuple(sorted(along))


def test_unknown_coordinates_are_worded():
    with pytest.raises(InputError, match=r"^unknown coordinate 'z' in 'u_z': this problem has t, x$"):
        parse("u_z", ("u",), ("t", "x"))


def test_unknown_names_are_worded():
    with pytest.raises(InputError, match=r"unknown name 'w': this problem has coordinates t, x and unknowns u"):
        parse("w", ("u",), ("t", "x"))
