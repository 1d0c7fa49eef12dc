import pytest

from nfsolve._core.installed import problem_names
from nfsolve.cli import catalogue, run_cli
from nfsolve.cli.catalogue import facts, kind_of
from nfsolve.fields import PRESETS
from nfsolve.options.docstrings import description
from nfsolve.problem.registry import find


@pytest.mark.parametrize("name", sorted(problem_names()))
def test_what_a_source_says_is_what_its_class_says(name):
    cls = find(name)
    assert facts(problem_names()[name]) == (description(cls).partition("\n")[0], cls.needs)


GALLERY = '''"""Heat in a module.

More of it.
"""
import nfsolve
from nfsolve import PDE, Problem
from {other} import Base as Other

class Plain(PDE):
    """Plain heat.

    Its details."""
class Undocumented(PDE):
    pass
class Own(Plain):
    """Own."""
    needs = "a file"
class Annotated(PDE):
    """Annotated."""
    needs: str = "a scan"
class Inherited(Own):
    """Inherited."""
class Elsewhere(Other):
    """Elsewhere."""
class Computed(PDE):
    """Computed."""
    needs = "two " + "files"
class ByAttribute(nfsolve.PDE):
    """By attribute."""
    needs = "much"
if True:
    class Nested(PDE):
        """Nested."""
'''


@pytest.mark.parametrize(
    ("name", "expected"),
    {
        "Plain": ("Plain heat.", "nothing"),
        "Undocumented": ("Heat in a module.", "nothing"),
        "Own": ("Own.", "a file"),
        "Annotated": ("Annotated.", "a scan"),
        "Inherited": ("Inherited.", "a file"),
        "Elsewhere": ("Elsewhere.", "a mesh"),
        "Computed": ("Computed.", "two files"),
        "ByAttribute": ("By attribute.", "much"),
        "Nested": ("Nested.", "nothing"),
    }.items(),
)
def test_facts_over_ways_to_write_a_class(name, expected, tmp_path, monkeypatch):
    module, other = f"gallery_{name.lower()}", f"base_{name.lower()}"
    (tmp_path / f"{other}.py").write_text("from nfsolve import PDE\nclass Base(PDE):\n    needs = 'a mesh'\n")
    (tmp_path / f"{module}.py").write_text(GALLERY.format(other=other))
    monkeypatch.syspath_prepend(tmp_path)
    assert facts(f"{module}:{name}") == expected


KINDS = ("pde", "pinnacle", "signals", "measurements", "ct", "nerf", "operators")


def test_kinds_divide_the_list(capsys):
    shown = []
    for kind in KINDS:
        assert run_cli(["list", f"--kind={kind}"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines and "[needs" in lines[0]
        shown += [line.split()[0] for line in lines]
    assert sorted(shown) == sorted(problem_names())
    assert kind_of("mine.heat:Heat") == "mine"


def test_presets_are_a_kind(capsys):
    assert run_cli(["list", "--kind", "fields"]) == 0
    assert capsys.readouterr().out.split() == list(PRESETS)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--kind", "operater"], "unknown kind 'operater': did you mean 'operators'?"),
        (["--kind"], "list takes --kind KIND alone, got '--kind'"),
        (["pde"], "list takes --kind KIND alone, got 'pde'"),
        (["--kind", "pde", "ct"], "list takes --kind KIND alone"),
    ],
)
def test_wrong_words_are_refused(words, message, capsys):
    assert run_cli(["list", *words]) == 2
    assert message in capsys.readouterr().err


def test_a_list_of_nothing_is_no_fault(monkeypatch, capsys):
    monkeypatch.setattr(catalogue, "problem_names", dict)
    assert run_cli(["list"]) == 0
    assert "[needs" not in capsys.readouterr().out
