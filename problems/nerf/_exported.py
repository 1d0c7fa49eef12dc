"""A trained scene as a program for other software, by torch.export or as ONNX, with what is needed to render it."""

import json
import logging
import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nfsolve import InputError, require_extra
from nfsolve.forward.rendering import spherical_harmonics
from problems.nerf import _auxiliary as auxiliary

if TYPE_CHECKING:
    from problems.nerf._radiance import Radiance
    from problems.nerf._trained import TrainedScene

PROGRAM, ONNX = ".pt2", ".onnx"
ABOUT = "scene.json"  # name of what is written beside a program, in its file
FARTHEST = 1e9  # stands for no end, which JSON has no number for
EXTERNAL = 2**30  # bytes of parameters from which they lie in a file of their own, as one of ONNX holds at most 2 GB


class _Seen(nn.Module):
    """Density and colours at points that are seen along directions."""

    def __init__(self, field: nn.Module, problem: "Radiance"):
        super().__init__()
        self.field, self.degree = field, problem.sh_degree

    def forward(self, points: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        values = self.field(points)
        harmonics = spherical_harmonics(directions, self.degree)
        return values[:, :1], auxiliary.colours(self.field, values[:, 1:], harmonics)


def write_scene(scene: "TrainedScene", path: Path) -> Path:
    """Write density and colours as a program; see `TrainedScene.export_scene`."""
    if path.suffix.lower() not in (PROGRAM, ONNX):
        raise InputError(f"a program must be a file {PROGRAM} or {ONNX}, got '{path}'", do="choose another name")
    if path.suffix.lower() == ONNX:
        require_extra("onnx", extra="onnx", purpose="writing ONNX")
        require_extra("onnxscript", extra="onnx", purpose="writing ONNX")
    about = json.dumps(_about(scene))
    seen = _Seen(scene.field, scene.problem).eval()
    like = next(scene.field.parameters()).detach()
    ends = like.new_zeros(4, 3), like.new_ones(4, 3)
    rows = {0: torch.export.Dim("points", min=1)}
    program = torch.export.export(seen, ends, dynamic_shapes=(rows, rows))
    if path.suffix.lower() == PROGRAM:
        torch.export.save(program, path, extra_files={ABOUT: about})
    else:
        _write_onnx(program, path, about)
    return path


def _about(scene: "TrainedScene") -> dict[str, Any]:
    """Return what a renderer must know of a scene."""
    views, problem = scene.photographs, scene.problem
    if not problem.surfaces or views.ndc is not None or views.contraction is not None:
        why = "has no colours" if not problem.surfaces else "is in NDC" if views.ndc else "is contracted"
        raise InputError(
            f"a scene that is rendered elsewhere must have colours and straight rays in a box, but this one {why}",
            do="write its field with export_program, or train with ndc=False and unbounded=False",
        )
    camera = views.cameras
    return {
        "bounds": [list(ends) for ends in problem.domain.bounds],
        "step": problem.step,
        "near": views.near,
        "far": min(views.far, FARTHEST),
        "background": list(problem.background_colour),
        "pose": camera.poses[0].tolist(),
        "angle": 2 * math.atan(0.5 * float(camera.sizes[0, 0] / camera.focals[0, 0])),
    }


def _write_onnx(program: Any, path: Path, about: str) -> None:
    """Translate a program into ONNX."""
    log, level = logging.getLogger("torch.onnx"), logging.getLogger("torch.onnx").level
    names: dict[str, Any] = {"input_names": ["points", "directions"], "output_names": ["density", "colour"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of shapes that are said twice
        log.setLevel(logging.ERROR)
        try:
            translated: Any = torch.onnx.export(program, verbose=False, **names)
        finally:
            log.setLevel(level)
    translated.model.metadata_props[ABOUT] = about
    size = sum(values.nbytes for values in program.state_dict.values())
    translated.save(path, external_data=size > EXTERNAL)
