"""Citations: the BibTeX of the methods that a run used, from ``citations.bib``."""

import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

METHODS = {
    "WeightScaling": "yeom2025fast",
    "RandomWeightFactorization": "wang2022random",
    "ESGD": "dauphin2015equilibrated chng2024preconditioners",
    "ESGDMax": "chng2024preconditioners",
    "AdaHessian": "yao2021adahessian",
    "GaussNewton": "transtrum2012improvements",
    "SSBroyden": "urban2025unveiling",
    "SSBFGS": "albaali1998numerical",
    "NystromNewtonCG": "rathore2024challenges",
    "Shampoo": "gupta2018shampoo",
    "KFAC": "martens2015optimizing dangel2024kronecker",
    "SOAP": "vyas2025soap",
    "Muon": "jordan2024muon",
    "LBFGS": "liu1989limited",
    "Siren": "sitzmann2020implicit",
    "activations:ComplexGabor": "saragadam2023wire",
    "activations:RealGabor": "saragadam2023wire",
    "activations:Gaussian": "ramasinghe2022beyond",
    "activations:Finer": "liu2024finer",
    "activations:Sinc": "saratchandran2024sampling",
    "SmallLast": "saratchandran2024activation",
    "GaussianFourier": "tancik2020fourier",
    "FeatureGrid": "mueller2022instant",
    '"physics": true': "wang2021learning",
    "DeepONet": "lu2021learning",
    "ModifiedDeepONet": "wang2022improved",
    "ShiftDeepONet": "lanthaler2023nonlinear",
    "NonlinearDeepONet": "seidman2022nomad",
    "PODDeepONet": "lu2022comprehensive",
    "PCANet": "bhattacharya2021model",
    "problems.nerf": "mildenhall2020nerf li2023nerfacc",
    '"problems.nerf.photographs:NeRF"': "fridovichkeil2022plenoxels",
    '"refine_poses": true': "lin2021barf",
    "ResidualMLP": "wang2024piratenets",
    "FilterNetwork": "fathony2021multiplicative",
    "GradientNorm": "wang2021understanding",
    "balance:NTK": "wang2022when",
    "SelfAdaptive": "mcclenny2023self",
    "points:RBA": "anagnostopoulos2024residual",
    "causal:Causal": "wang2024respecting",
}
"""What a config says of a method -> keys of its entries in ``citations.bib``, separated by spaces."""


def used_in(config: dict[str, Any]) -> list[str]:
    """Find the methods with a citation in the config of a run.

    Args:
        config: The run's ``config.json``.

    Returns:
        Keys of `METHODS`.
    """
    text = json.dumps(config)
    return [name for name in METHODS if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text)]


def bibtex(methods: list[str]) -> str:
    """Return the BibTeX of nfsolve and of some methods.

    Args:
        methods: Keys of `METHODS`.

    Returns:
        BibTeX entries, separated by empty lines.
    """
    text = resources.files("nfsolve.cli").joinpath("citations.bib").read_text(encoding="utf-8")
    entries = {entry.partition("{")[2].partition(",")[0]: entry for entry in text.strip().split("\n\n")}
    keys = " ".join(["nfsolve", *(METHODS[name] for name in methods)]).split()
    return "\n\n".join(entries[key] for key in dict.fromkeys(keys))  # two methods may share one


def cite_command(words: list[str]) -> int:
    """Print the BibTeX of nfsolve and of the methods of a run or a problem.

    Args:
        words: A run folder, a problem, or nothing.

    Returns:
        Exit code 0.

    Raises:
        InputError: There is no such run or problem.
    """
    print(bibtex(used_in(_config(words[0]) if words else {})))
    return 0


def _config(what: str) -> dict[str, Any]:
    if Path(what).is_dir():
        from nfsolve.run.folder import RunFolder

        return RunFolder(what).config()
    from nfsolve.problem.registry import find
    from nfsolve.run.plan import Plan

    problem = find(what)()
    return Plan.of(problem.recipe()).config(problem)
