"""What inverse rendering can train beside its field: a network that gives colours, and corrections of camera poses.

The network reads features of the field and spherical harmonics of the viewing direction, as the second network of
Mueller et al., "Instant neural graphics primitives", ACM TOG 41 (2022), section 5.4, with one hidden layer as in NeRF.
"""

from typing import Any

import torch
from torch import Tensor, nn

from nfsolve.fields import ReLU
from nfsolve.fields.layers import Layers
from nfsolve.forward.cameras import PoseCorrections
from nfsolve.problem import FieldFunction

COLOURS = ("harmonics", "network")
FEATURES, WIDTH = 15, 64  # features of the field that the network reads, and its width
CAREFUL = 0.1  # radians and lengths for which a weight of 1 stands in the correction of a pose


def outputs(colour: str, sh_degree: int) -> str:
    """Name what the field gives beside the density: features, or three coefficients for each harmonic."""
    if colour == "network":
        return " ".join(f"f{k + 1}" for k in range(FEATURES))
    return " ".join(f"{c}{k or ''}" for k in range((sh_degree + 1) ** 2) for c in "rgb")


def colour_network(sh_degree: int, seed: int) -> nn.Module:
    """Make the network from features and harmonics to colours."""
    reads = FEATURES + (sh_degree + 1) ** 2
    return Layers(reads, WIDTH, 1, ReLU(), None, seed, None, None, "colour").stack(3)


def pose_corrections(n_views: int) -> PoseCorrections:
    """Make the corrections of the poses of all training views."""
    return PoseCorrections(n_views, fix_first=False, unit=CAREFUL)


def colours(field: FieldFunction, given: Tensor, harmonics: Tensor) -> Tensor:
    """Return red, green and blue ``(n, 3)`` from what the field gave of them and the harmonics of the directions."""
    network = _trained_with(field, "colour")
    if network is None:
        return torch.sigmoid((given.unflatten(1, (-1, 3)) * harmonics[..., None]).sum(1))
    return torch.sigmoid(network(torch.cat([given, harmonics], -1)))


def poses(field: FieldFunction, given: Tensor) -> Tensor:
    """Return the poses of the training views as the field was trained with them."""
    corrections = _trained_with(field, "poses")
    return given if corrections is None else corrections(given)


def pose_metrics(field: FieldFunction) -> dict[str, float]:
    """Say by how much the training views were moved in the mean."""
    corrections = _trained_with(field, "poses")
    if corrections is None:
        return {}
    turns, shifts = corrections.motions().split(3, -1)
    return {
        "pose_correction_degrees": float(torch.rad2deg(turns.norm(dim=-1)).mean()),
        "pose_correction_distance": float(shifts.norm(dim=-1).mean()),
    }


def _trained_with(field: FieldFunction, name: str) -> Any:
    """Return what is trained with a field under this name, or None."""
    return dict(getattr(field, "auxiliary", {})).get(name)
