"""``nfsolve doctor``: what this machine and this installation offer, and how to install what is missing."""

import importlib.metadata
import os
import platform
import re
import sys
from pathlib import Path

from packaging.requirements import Requirement

from nfsolve._core.errors import InputError
from nfsolve._core.installed import problem_names
from nfsolve._core.version import VERSION

Rows = list[tuple[str, str]]
PURPOSES = {
    "plot": "pictures of solutions, curves and problems",
    "nerf": "a faster renderer of radiance fields on a GPU",
    "video": "MP4 videos of radiance fields",
    "viewer": "radiance fields in a browser",
    "onnx": "radiance fields as ONNX, for other software",
    "ct": "scans as DICOM, NIfTI and HDF5 files",
    "operators": "functions from HDF5, NetCDF and Zarr files",
    "mesh": "domains from surface meshes, and meshes from fields",
    "vtk": "solutions as VTK files",
    "xarray": "solutions as datasets, and data from them",
    "tensorboard": "--log tensorboard",
    "wandb": "--log wandb",
    "mlflow": "--log mlflow",
    "docs": "the documentation as a site",
    "dask": "comparisons on a Dask cluster",
    "ray": "comparisons on a Ray cluster",
    "slurm": "comparisons on a Slurm cluster",
}
"""Extra -> what it is for."""


def doctor_command(words: list[str]) -> int:
    """Print versions, threads, GPU and optional libraries.

    Args:
        words: None.

    Returns:
        Exit code: 0, or 1 where a required library is missing or its version does not fit.

    Raises:
        InputError: Words are given.
    """
    if words:
        raise InputError(f"doctor takes no arguments, got '{' '.join(words)}'", do="write nfsolve doctor")
    needed = _requirements()
    always = [r for r in needed if r.marker is None or r.marker.evaluate({"extra": ""})]
    optional = {
        extra: [r for r in needed if r not in always and r.marker and r.marker.evaluate({"extra": extra})]
        for extra in PURPOSES
    }
    sections = {
        "System": system(),
        "PyTorch": pytorch(),
        "Required libraries": [(r.name, state(r)) for r in always],
        "Optional libraries": [(extra, _extra(extra, libraries)) for extra, libraries in optional.items()],
    }
    for title, rows in sections.items():
        width = max((len(name) for name, _ in rows), default=0)
        print("\n".join([title, *(f"  {name:<{width}}  {text}" for name, text in rows)]), end="\n\n")
    wrong = " ".join(f"'{r.name}{r.specifier}'" for r in always if not fits(r))
    print(f"Repair the required libraries: pip install {wrong}" if wrong else "All required libraries are installed.")
    return 1 if wrong else 0


def _requirements() -> list[Requirement]:
    try:
        return [Requirement(line) for line in importlib.metadata.requires("nfsolve") or ()]
    except importlib.metadata.PackageNotFoundError as error:
        raise InputError(
            "nfsolve is not installed as a package, so neither its problems nor its libraries are known by name",
            do="install it: pip install . in its folder",
        ) from error


def system() -> Rows:
    """Return what is known of the installation and the machine: names and texts."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    data = os.environ.get("NFSOLVE_DATA")
    return [
        ("nfsolve", f"{VERSION} in {Path(__file__).parents[1]}"),
        ("Python", f"{platform.python_version()} at {sys.executable}"),
        ("machine", f"{platform.system()} {platform.machine()}, {cores} cores for this process"),
        ("problems", f"{len(problem_names())}, shown by nfsolve list"),
        ("NFSOLVE_DATA", f"{data}{'' if Path(data).is_dir() else ', which is not a folder'}" if data else "not set"),
    ]


def pytorch() -> Rows:
    """Return the version, the threads, the BLAS and the GPUs of PyTorch: names and texts."""
    try:
        import torch
    except ImportError as error:
        return [("version", f"cannot be imported: {error}")]
    variables = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    said = ", ".join(f"{name}={os.environ[name]}" for name in variables if name in os.environ)
    libraries = re.findall(r"(BLAS|LAPACK)_INFO=(\w+)", torch.__config__.show())
    rows = [
        ("version", str(torch.__version__)),
        ("threads", f"{torch.get_num_threads()}, {said or 'to be set by OMP_NUM_THREADS'}"),
        *((name, library) for name, library in libraries),
        ("CPU instructions", torch.backends.cpu.get_cpu_capability()),
    ]
    if not torch.version.cuda and not torch.version.hip:
        return [*rows, ("GPU", "none, for this PyTorch was built for CPUs only; see pytorch.org for others")]
    if not torch.cuda.is_available():
        return [*rows, ("GPU", f"none that PyTorch, built for CUDA {torch.version.cuda}, can use; is there a driver?")]
    for number in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(number)
        rows.append((f"GPU {number}", f"{card.name}, {card.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}"))
    return rows


def _extra(extra: str, libraries: list[Requirement]) -> str:
    """Say what an extra is for, which of its libraries are there, and how to install it where one is missing."""
    if not libraries:
        return f"unknown to this installation, which is older than its code: install it again ({PURPOSES[extra]})"
    states = ", ".join(f"{r.name} {state(r)}" for r in libraries)
    missing = not all(map(fits, libraries))
    return f"{states} ({PURPOSES[extra]})" + (f": pip install 'nfsolve[{extra}]'" if missing else "")


def fits(needed: Requirement) -> bool:
    """Return whether a library is installed in a version that fits."""
    version = _version(needed.name)
    return version is not None and needed.specifier.contains(version, prereleases=True)


def state(needed: Requirement) -> str:
    """Return the version of a library, and say where it is missing or does not fit."""
    version = _version(needed.name) or "is missing"
    return version if fits(needed) or not _version(needed.name) else f"{version}, but {needed.specifier} is needed"


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
