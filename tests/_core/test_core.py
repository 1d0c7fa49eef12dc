import inspect
import subprocess
import sys
from dataclasses import dataclass
from functools import partial

import pytest
import torch

from nfsolve import MLP, Sine, optim
from nfsolve._core.device import choose_device, choose_dtype
from nfsolve._core.errors import InputError, MissingExtra, nearest, require, unknown
from nfsolve._core.random import generator
from nfsolve._core.spec import build, describe

HEAVY = ("matplotlib", "nerfacc", "tyro", "imageio", "skimage", "pytest")


def heavy_modules_after(code: str) -> list[str]:
    script = f"{code}; import sys; print(*(m for m in {HEAVY!r} if m in sys.modules))"
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return shown.stdout.split()


def test_importing_nfsolve_is_light():
    assert heavy_modules_after("import nfsolve") == []
    assert heavy_modules_after("import tyro") == ["tyro"]  # the test can fail


def test_errors_are_a_sentence_and_what_to_do():
    error = InputError("a must be b, got c", do="do d")
    assert str(error) == "a must be b, got c. Do d."
    assert (error.sentence, error.do) == ("a must be b, got c", "do d")
    assert str(InputError("no a, did you mean 'b'?", do="or do c")) == "no a, did you mean 'b'? Or do c."
    assert str(unknown("plum", "q", ["b", "a"], "or eat")) == "unknown plum 'q': choose one of a, b. Or eat."
    assert nearest("burgres", ["burgers", "poisson"]) == "did you mean 'burgers'?"
    assert nearest("zzz", ["b", "a"]) == "choose one of a, b"


def test_a_missing_extra_is_named():
    with pytest.raises(MissingExtra, match=r"drawing needs no_such_library.*pip install 'nfsolve\[plot\]'"):
        require("no_such_library", extra="plot", purpose="drawing")


def test_generators_of_different_purposes_are_independent_and_repeat():
    first = torch.rand(3, generator=generator(0, "points"))
    assert torch.equal(first, torch.rand(3, generator=generator(0, "points")))
    assert not torch.equal(first, torch.rand(3, generator=generator(0, "weights")))
    assert not torch.equal(first, torch.rand(3, generator=generator(1, "points")))


def test_devices_and_types_by_name():
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type in ("cpu", "cuda")
    assert choose_dtype("float64") == choose_dtype(torch.float64) == torch.float64
    with pytest.raises(InputError, match="unknown dtype 'float46': did you mean 'float64'"):
        choose_dtype("float46")


@pytest.mark.parametrize(
    "value",
    [
        3,
        None,
        "text",
        Sine(12.0),
        partial(MLP, width=3, activation=Sine(2.0)),
        partial(optim.GaussNewton),
        partial(torch.optim.Adam, lr=1e-3, betas=(0.9, 0.99)),
    ],
)
def test_descriptions_build_the_same_again(value):
    again = build(describe(value))
    if isinstance(value, partial):
        assert (again.func, again.keywords) == (value.func, value.keywords)
    else:
        assert again == value


def test_what_cannot_be_built_again_says_so():
    with pytest.raises(InputError, match="This run used .*lambda"):
        build(describe(lambda parameters: None))


@dataclass(frozen=True)
class Strange:
    x: int = 1


def test_only_trusted_modules_are_built():
    with pytest.raises(InputError, match="config.json may name .*Strange'"):
        build(describe(Strange()))
    assert build(describe(Strange(4)), (__name__,)) == Strange(4)
    with pytest.raises(InputError, match="does not exist here"):
        build({"call": "nfsolve.fields:Nothing"})
    with pytest.raises(InputError, match="arguments .*'omegaa'"):
        build({"call": "nfsolve.fields.activations:Sine", "omegaa": 1})


@pytest.mark.parametrize(
    "path",
    [
        "nfsolve.run.folder:os.system",
        "nfsolve.run.folder:os",
        "nfsolve.fields.mlp:torch.load",
        "nfsolve._core.spec:importlib.import_module",
        "nfsolve.problem.registry:find",
        "nfsolve.problem.registry:sys",
        "nfsolve.problem.registry:Path",
        "nfsolve.cli:run_cli",
        "nfsolve.__main__:run_cli",
        "nfsolve:solve",
        "nfsolve:load",
        "nfsolve:Solution",
        "torch.optim.adam:torch.load",
        "torch.optim.adam:cast",
        "os:system",
        "problems:os",
        "nfsolve.data.photos.writing:write_transforms",
        "nfsolve.data.scans.files:open_arrays",
        "nfsolve.fields.factorize:fold",
        "problems.nerf._pictures:write_frames",
        "torch.optim.swa_utils:update_bn",
    ],
)
def test_a_description_calls_nothing_but_what_describe_writes(path):
    with pytest.raises(InputError):
        build({"call": path})
    with pytest.raises(InputError):
        build({"partial": path})


@dataclass(frozen=True)
class Borrowed:
    """A class that a trusted module only imports."""


def own_optimizer(parameters):
    return torch.optim.Adam(parameters)


def test_what_a_trusted_module_imports_from_elsewhere_is_not_built(monkeypatch):
    monkeypatch.setattr("nfsolve.fields.mlp.Borrowed", Borrowed, raising=False)
    for kind in ("call", "partial"):
        with pytest.raises(InputError, match="loading it would run that code"):
            build({kind: "nfsolve.fields.mlp:Borrowed"})


def test_a_function_is_built_from_the_module_of_the_problem_only():
    with pytest.raises(InputError, match="may name"):
        build(describe(own_optimizer))
    assert build(describe(own_optimizer), (__name__,)).func is own_optimizer


def test_no_function_of_a_package_is_called_by_a_config():
    functions = [
        f"{module.__name__}:{name}"
        for module in list(sys.modules.values())
        if module.__name__.startswith(("nfsolve", "problems", "torch.optim"))
        for name, value in vars(module).items()
        if inspect.isfunction(value)
    ]
    assert len(functions) > 100
    for path in functions:
        for kind in ("call", "partial"):
            with pytest.raises(InputError):
                build({kind: path})
