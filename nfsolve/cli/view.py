"""``nfsolve view DIR``: a trained scene in a browser, from wherever one likes."""

from dataclasses import dataclass

from nfsolve._core.errors import require
from nfsolve.cli.render import scene_of
from nfsolve.cli.words import options_after


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
    said = options_after(
        words, ViewOptions, "nfsolve view DIR", "view needs the folder of a run", "write nfsolve view DIR"
    )
    require("viser", "viewer", "looking at a scene in a browser")
    scene_of(words[0], said.trust, "view", "view").view(said.host, said.port, said.size, said.show)
    return 0
