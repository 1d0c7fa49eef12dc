"""A trained scene in a user's hands: points to what the field gives there, cameras to what they see."""

import json
import math
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from nfsolve import InputError, unknown_name
from nfsolve.data.photos import read_cameras
from nfsolve.forward.cameras import Cameras
from problems.nerf import _pictures as pictures
from problems.nerf._exported import write_scene
from problems.nerf._geometry import ColouredMesh, PointCloud, point_cloud
from problems.nerf._renderer import Renderer, Seen

if TYPE_CHECKING:
    from problems.nerf._radiance import Radiance


RADIANS = 3.2  # degrees; an angle of view of less is one in radians


class TrainedScene(nn.Module):
    """A field of density and colours that renders what cameras see.

    Args:
        field: The trained field.
        problem: What it was trained for; its training views say the box, near, far and the background.
    """

    def __init__(self, field: nn.Module, problem: "Radiance"):
        super().__init__()
        self.field, self.problem = field, problem
        self._like = next(field.parameters()).detach()
        self.photographs = problem.photographs["train"].to(self._like.device, self._like.dtype)

    def forward(self, points: Tensor) -> Tensor:
        """Return density and colour channels at points, ``(n, 3)`` -> ``(n, k)``."""
        return self.field(points)

    @cached_property
    def renderer(self) -> Renderer:
        """What renders the field where it has density, which is looked for once, at the first picture."""
        return self.problem.renderer(self.field, self.problem.build_occupancy_grid(self.field, self._like))

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
        return self.renderer.render_view(self.photographs.seen_by(cameras), view, normals and self.problem.surfaces)

    def render_path(
        self, path: str, out: Path, frames: int = 60, longest: int | None = None, show: str = "rgb"
    ) -> list[Path]:
        """Write a video of views along a path.

        Args:
            path: ``orbit``, ``spiral``, or a file: a camera path of nerfstudio (``camera_path.json``), or frames with
                matrices and lenses as in transforms.json.
            out: A file .gif or .mp4, or a folder for PNG images.
            frames: Number of views; a file has its own.
            longest: Longest side, pixels; the photographs' own, or the file's, by default.
            show: ``rgb``, ``depth``, ``normals`` or ``opacity``.

        Returns:
            The files that were written.

        Raises:
            InputError: There is no such path, or it cannot be read.
        """
        if frames < 1 or (longest is not None and longest < 2):
            raise InputError(f"frames must be at least 1 and size at least 2, got {frames} and {longest}")
        if show not in pictures.SHOWS:
            raise unknown_name("picture to show", show, pictures.SHOWS)
        if path.endswith(".json"):
            views = self.photographs.seen_by(read_camera_path(Path(path)))
        else:
            views = self.photographs.path(frames, path)
        views = pictures.resized(views, longest or int(views.cameras.sizes.max()))
        seen = (self.renderer.render_view(views, i, show == "normals") for i in range(len(views.cameras)))
        return pictures.write_frames(out, (pictures.SHOWS[show](view) for view in seen))

    def view(self, host: str = "localhost", port: int = 8080, longest: int = 400, show: str = "rgb") -> None:
        """Show the scene in browsers until the program is interrupted.

        Args:
            host: Address at which browsers find it; ``"0.0.0.0"`` lets other machines see it too.
            port: Port; the next free one where it is taken.
            longest: Longest side of the finest picture, pixels.
            show: ``rgb``, ``depth``, ``normals`` or ``opacity``.

        Raises:
            InputError: The size cannot be, or nothing of this name can be shown.
            MissingExtra: viser is not installed.
        """
        from problems.nerf._viewer import serve

        serve(self, host, port, longest, show)

    def mesh(self, n: int = 192, level: float | None = None, largest: bool = False) -> ColouredMesh:
        """Extract the surface, with the colours that it has seen from outside; without floaters and cavities.

        Args:
            n: Points along each side of the box.
            level: The density of the surface; by default a step along a ray absorbs half of the light there.
            largest: Whether to keep only the largest part.

        Returns:
            The mesh; ``.write("scene.glb")`` or .ply, .obj, .off, .stl.

        Raises:
            InputError: There is no surface.
            MissingExtra: scikit-image is not installed.
        """
        share = {"share": 1.0} if largest else {}
        return self.problem.surface(self.renderer, self.field, n, self._like, level, **share)

    def point_cloud(self, n: int = 100_000) -> PointCloud:
        """Collect the coloured points in which rays of the training views end, about ``n``.

        Returns:
            The points; ``.write("points.ply")`` or .glb, .xyz.

        Raises:
            InputError: No ray meets anything.
        """
        return point_cloud(self.renderer, self.photographs, n)

    def export_program(self, path: str | Path) -> Path:
        """Write the field, density and colour channels at points, as a program of torch.export.

        ``torch.export.load(path).module()(points)`` runs it, without nfsolve, on any number of points ``(n, 3)``.

        Args:
            path: A file, .pt2.

        Returns:
            The path.
        """
        points = self._like.new_zeros(4, 3)
        number = torch.export.Dim("points", min=1)
        program = torch.export.export(self.field.eval(), (points,), dynamic_shapes=({0: number},))
        torch.export.save(program, path)
        return Path(path)

    def export_scene(self, path: str | Path) -> Path:
        """Write density and colours as a program, with what is needed to render them without nfsolve.

        The program gives densities ``(n, 1)``, 1/length, and colours ``(n, 3)`` of points ``(n, 3)`` seen along unit
        vectors ``(n, 3)``. Beside it is JSON: ``bounds``, ``step``, ``near``, ``far``, ``background``, and ``pose`` and
        ``angle`` (across, radians) of the first training view. `scripts/render_exported.py` is a renderer that needs
        nothing else. Of a .pt2, ``torch.export.load(path, extra_files=extra)`` with ``extra = {"scene.json": ""}``
        gives both; an .onnx runs in onnxruntime and others, with inputs ``points`` and ``directions``, outputs
        ``density`` and ``colour``, and the JSON as ``scene.json`` in its metadata.

        Args:
            path: A file .pt2 (torch.export) or .onnx.

        Returns:
            The path.

        Raises:
            InputError: The scene has no colours, or is contracted or in NDC, so that its rays are not straight; or the
                file is of another kind.
            MissingExtra: An .onnx needs onnx and onnxscript.
        """
        return write_scene(self, Path(path))


def read_camera_path(file: Path) -> Cameras:
    """Read a camera path: one that the viewer of nerfstudio exported, or cameras written as in transforms.json.

    Args:
        file: JSON with ``render_width``, ``render_height`` and a list ``camera_path`` of ``camera_to_world``, 16
            numbers row by row, and ``fov``, the vertical angle of view in degrees; or with ``frames``, see
            `read_cameras`.

    Returns:
        Its cameras.

    Raises:
        InputError: It cannot be read, or is no such file.
    """
    try:
        head: Any = json.loads(file.read_text(encoding="utf-8-sig"))
        if isinstance(head, dict) and "frames" in head:
            return read_cameras(file)
        width, height = int(head["render_width"]), int(head["render_height"])
        poses = np.array([view["camera_to_world"] for view in head["camera_path"]], dtype=np.float64).reshape(-1, 4, 4)
        tangents = np.tan(np.radians([float(view["fov"]) for view in head["camera_path"]]) / 2)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"'{file}' must be a camera path of nerfstudio, with render_width, render_height and camera_path, but it "
            f"could not be read ({type(error).__name__}: {str(error)[:100]})",
            do="export it from the viewer again, or write frames as in transforms.json",
        ) from error
    if not len(poses) or not np.isfinite(poses).all() or not (tangents > 0).all():
        raise InputError(f"'{file}' must have cameras with finite poses and a positive fov", do="correct it")
    if (tangents < math.tan(math.radians(RADIANS / 2))).all():
        raise InputError(
            f"fov of '{file}' must be in degrees, but all are below {RADIANS:g}", do="convert it from radians"
        )
    cameras = Cameras.with_angle(torch.from_numpy(poses), width, height, math.pi / 2)
    focals = torch.from_numpy(0.5 * height / tangents)[:, None].expand(-1, 2)
    return Cameras(cameras.poses, focals, cameras.centres, cameras.sizes)
