"""``nfsolve render DIR``: a trained scene as a video, images, a mesh, a point cloud or a program."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nfsolve._core.errors import InputError
from nfsolve.cli.words import options_after
from nfsolve.meshes.mesh import WRITTEN
from nfsolve.run.solve import load


@dataclass
class RenderOptions:
    """Render a trained scene as a video, as images, as a mesh or as a point cloud."""

    path: str = "orbit"
    """orbit, spiral, or a file: camera_path.json of nerfstudio's viewer, or frames as in transforms.json"""
    out: Path | None = None
    """.gif, .mp4, a folder for PNG, a mesh .ply, .glb, .obj, .off, .stl, a program .pt2, .onnx; default DIR/PATH.gif"""
    show: str = "rgb"
    """what the images show: rgb, depth, normals or opacity"""
    frames: int = 60
    """number of views; a camera path has its own"""
    size: int | None = None
    """longest side in pixels; default that of the photographs, or the camera path's"""
    mesh: int = 192
    """points along each side of the box for a mesh"""
    level: float | None = None
    """density of the mesh's surface; default where a step along a ray absorbs half of the light"""
    largest: bool = False
    """keep only the largest part of the mesh"""
    cloud: int | None = None
    """write about so many points of the surface as a cloud (.ply, .glb or .xyz) instead of a mesh"""
    trust: bool = False
    """run the file or module that defines the problem of this run"""


def render_command(words: list[str]) -> int:
    """Render a run folder.

    Args:
        words: The run folder, then options.

    Returns:
        Exit code 0.

    Raises:
        InputError: No folder is named, or its solution is nothing that cameras can see.
    """
    said = options_after(
        words, RenderOptions, "nfsolve render DIR", "render needs the folder of a run", "write nfsolve render DIR"
    )
    scene = scene_of(words[0], said.trust, "render_path", "render")
    out = said.out or Path(words[0]) / f"{Path(said.path).stem}.gif"
    for path in _write(scene, said, out):
        print(f"wrote {path}", file=sys.stderr)
    return 0


def scene_of(folder: str, trust: bool, method: str, command: str) -> Any:
    """Load a run whose solution cameras can see.

    Args:
        folder: The run folder.
        trust: As for `nfsolve.load`.
        method: What the solution must have.
        command: Name of the command, for the message.

    Raises:
        InputError: The solution has no such method.
    """
    scene: Any = load(folder, trust=trust)
    if not hasattr(scene, method):
        raise InputError(
            f"'{folder}' must hold a scene that cameras can see, but its problem has none",
            do=f"{command} a run of nerf",
        )
    return scene


def _write(scene: Any, said: RenderOptions, out: Path) -> list[Path]:
    if said.cloud is not None:
        if said.cloud < 1:
            raise InputError(f"cloud must be at least 1, got {said.cloud}", do="choose a number of points")
        return [scene.point_cloud(said.cloud).write(out if said.out else out.with_name("points.ply"))]
    if out.suffix.lower() in (".pt2", ".onnx"):
        return [scene.export_scene(out)]
    if out.suffix.lower() in WRITTEN:
        return [scene.mesh(said.mesh, said.level, said.largest).write(out)]
    return scene.render_path(said.path, out, said.frames, said.size, said.show)
