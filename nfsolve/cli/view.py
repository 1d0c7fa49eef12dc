"""``nfsolve view DIR``: a trained scene in a browser, from wherever one likes."""

from dataclasses import dataclass
from typing import Any

from nfsolve._core.errors import InputError, require
from nfsolve.run.solve import load


@dataclass
class ViewOptions:
    """Look at a trained scene in a browser, which this program serves until Ctrl+C."""

    host: str = "localhost"
    """address at which browsers find the scene; 0.0.0.0 lets other machines see it too"""
    port: int = 8080
    """port; the next free one where it is taken"""
    size: int = 400
    """longest side of the finest picture in pixels"""
    show: str = "rgb"
    """what the pictures show: rgb, depth, normals or opacity"""
    trust: bool = False
    """run the file or module that defines the problem of this run"""


def view_command(words: list[str]) -> int:
    """Show a run folder in a browser.

    Args:
        words: The run folder, then options.

    Returns:
        Exit code 0.

    Raises:
        InputError: No folder is named, or its solution is nothing that cameras can see.
        MissingExtra: viser is not installed.
    """
    import tyro

    asks_help = bool({"-h", "--help"} & set(words))
    if not asks_help and (not words or words[0].startswith("-")):
        raise InputError("view needs the folder of a run", do="write nfsolve view DIR")
    said = tyro.cli(ViewOptions, args=["--help"] if asks_help else words[1:], prog="nfsolve view DIR")
    require("viser", "viewer", "looking at a scene in a browser")
    scene: Any = load(words[0], trust=said.trust)
    if not hasattr(scene, "view"):
        raise InputError(
            f"'{words[0]}' must hold a scene that cameras can see, but its problem has none", do="view a run of nerf"
        )
    scene.view(said.host, said.port, said.size, said.show)
    return 0
