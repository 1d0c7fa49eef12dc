"""``nfsolve render DIR``: views of a trained scene along a path."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nfsolve._core.errors import InputError
from nfsolve.run.solve import load


@dataclass
class RenderOptions:
    """Render a trained scene as a video or as images."""

    path: str = "orbit"
    """orbit, spiral, or the camera_path.json of nerfstudio's viewer"""
    out: Path | None = None
    """file .gif or .mp4, or a folder for PNG images; default DIR/PATH.gif"""
    frames: int = 60
    """number of views; a camera path has its own"""
    size: int | None = None
    """longest side in pixels; default that of the photographs, or the camera path's"""
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
    import tyro

    asks_help = bool({"-h", "--help"} & set(words))
    if not asks_help and (not words or words[0].startswith("-")):
        raise InputError("render needs the folder of a run", do="write nfsolve render DIR")
    said = tyro.cli(RenderOptions, args=["--help"] if asks_help else words[1:], prog="nfsolve render DIR")
    scene: Any = load(words[0], trust=said.trust)
    if not hasattr(scene, "render_path"):
        raise InputError(
            f"'{words[0]}' must hold a scene that cameras can see, but its problem has none", do="render a run of nerf"
        )
    out = said.out or Path(words[0]) / f"{Path(said.path).stem}.gif"
    for path in scene.render_path(said.path, out, said.frames, said.size):
        print(f"wrote {path}", file=sys.stderr)
    return 0
