"""A trained scene in a user's hands: points to what the field gives there, cameras to what they see."""

import json
import math
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from nfsolve import InputError
from nfsolve.data.photos import Photographs
from nfsolve.forward.cameras import Cameras
from problems.nerf import _pictures as pictures
from problems.nerf._renderer import Renderer, Seen

if TYPE_CHECKING:
    from collections.abc import Callable

    from nfsolve.forward.rendering import OccupancyGrid


class TrainedScene(nn.Module):
    """A field of density and colours that renders what cameras see.

    Args:
        field: The trained field.
        photographs: Training views, which say the box, near, far and the background.
        build: Field -> where it has density; done once, at the first picture.
        renderer: Field and that grid -> what renders it.
        surfaces: Whether depth and normals mean something.
    """

    def __init__(
        self,
        field: nn.Module,
        photographs: Photographs,
        build: "Callable[[nn.Module], OccupancyGrid]",
        renderer: "Callable[[nn.Module, OccupancyGrid], Renderer]",
        surfaces: bool = True,
    ):
        super().__init__()
        self.field, self.surfaces = field, surfaces
        like = next(field.parameters())
        self.photographs = photographs.to(like.device, like.dtype)
        self._build, self._renderer = build, renderer

    def forward(self, points: Tensor) -> Tensor:
        """Return density and colour channels at points, ``(n, 3)`` -> ``(n, k)``."""
        return self.field(points)

    @cached_property
    def renderer(self) -> Renderer:
        """What renders the field where it has density."""
        return self._renderer(self.field, self._build(self.field))

    @property
    def cameras(self) -> Cameras:
        """The cameras of the training views."""
        return self.photographs.cameras

    def render(self, cameras: Cameras, view: int = 0, normals: bool = True) -> Seen:
        """Render what a camera sees.

        Args:
            cameras: One or more, in the coordinates of the training poses; see `Cameras.with_angle`.
            view: Which of them.
            normals: Whether to find normals too, at twice the cost and more.

        Returns:
            Images ``(height, width, k)``: colours, opacity, depth, normals.
        """
        if not 0 <= view < len(cameras):
            raise InputError(f"view must be 0 to {len(cameras) - 1}, got {view}", do="choose one of the cameras")
        return self.renderer.render_view(self.photographs.seen_by(cameras), view, normals and self.surfaces)

    def render_path(self, path: str, out: Path, frames: int = 60, longest: int | None = None) -> list[Path]:
        """Write a video of views along a path.

        Args:
            path: ``orbit``, ``spiral``, or a camera path of nerfstudio (``camera_path.json``).
            out: A file .gif or .mp4, or a folder for PNG images.
            frames: Number of views; a file has its own.
            longest: Longest side, pixels; the photographs' own, or the file's, by default.

        Returns:
            The files that were written.

        Raises:
            InputError: There is no such path, or it cannot be read.
        """
        if frames < 1 or (longest is not None and longest < 2):
            raise InputError(f"frames must be at least 1 and size at least 2, got {frames} and {longest}")
        if path.endswith(".json"):
            views = self.photographs.seen_by(read_camera_path(Path(path)))
        else:
            views = self.photographs.path(frames, path)
        views = pictures.resized(views, longest or int(views.cameras.sizes.max()))
        return pictures.write_frames(out, (self.renderer.render_view(views, i).rgb for i in range(len(views.cameras))))


def read_camera_path(file: Path) -> Cameras:
    """Read a camera path that the viewer of nerfstudio exported.

    Args:
        file: JSON with ``render_width``, ``render_height`` and a list ``camera_path`` of ``camera_to_world``, 16
            numbers row by row, and ``fov``, the vertical angle of view in degrees.

    Returns:
        Its cameras.

    Raises:
        InputError: It cannot be read, or is no such file.
    """
    try:
        head: Any = json.loads(file.read_text(encoding="utf-8-sig"))
        width, height = int(head["render_width"]), int(head["render_height"])
        poses = np.array([view["camera_to_world"] for view in head["camera_path"]], dtype=np.float64).reshape(-1, 4, 4)
        tangents = np.tan(np.radians([float(view["fov"]) for view in head["camera_path"]]) / 2)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"'{file}' must be a camera path of nerfstudio, with render_width, render_height and camera_path, but it "
            f"could not be read ({type(error).__name__}: {str(error)[:100]})",
            do="export it from the viewer again",
        ) from error
    if not len(poses) or not np.isfinite(poses).all() or not (tangents > 0).all():
        raise InputError(f"'{file}' must have cameras with finite poses and a positive fov", do="correct it")
    cameras = Cameras.with_angle(torch.from_numpy(poses), width, height, math.pi / 2)
    focals = torch.from_numpy(0.5 * height / tangents)[:, None].expand(-1, 2)
    return Cameras(cameras.poses, focals, cameras.centres, cameras.sizes)
