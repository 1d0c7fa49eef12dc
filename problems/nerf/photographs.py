"""A scene from photographs with known cameras (NeRF): density and colours in a box, for views from anywhere.

nfsolve run nerf --data FOLDER          transforms.json of Blender, nerfstudio or instant-ngp, COLMAP, LLFF, phones
nfsolve run nerf --data nerf_lego_200.npz --downscale 2
nfsolve run nerf --data FOLDER --field mlp --field.encoding positional
"""

from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch

from nfsolve import MLP, InputError, Recipe, RunOptions, Stage, main
from nfsolve.data.photos import Photographs, read_photographs, silhouette_box
from nfsolve.fields import FeatureGrid, ReLU
from nfsolve.forward.rendering import Contraction
from problems.nerf._radiance import Radiance


@dataclass
class NeRF(Radiance):
    """The density and the colours of a scene from your own posed photographs."""

    data: str = ""
    """folder, .zip or .npz: transforms.json of Blender, nerfstudio or instant-ngp, COLMAP, LLFF, Polycam, Record3D"""
    downscale: float = 1.0
    """factor by which the images are reduced"""
    background: str | None = None
    """colour behind the scene: white, black, red,green,blue in [0, 1], or none; default the layout's or the borders'"""
    bounds: tuple[float, float, float, float, float, float] | None = None
    """box of the scene, low and high of x, y and z; default from the data or the cameras"""
    tight: bool = True
    """draw the box in around what is seen before a background of one colour, unless bounds are given"""
    near: float | None = None
    """distance at which rays begin"""
    far: float | None = None
    """distance at which rays end"""
    ndc: bool | None = None
    """normalised device coordinates, for cameras that all face forward; default for LLFF"""
    hold_out: int = 8
    """one in this many views is held out, if the data do not say which"""
    allow_outside: bool = False
    """read files that the scene names outside of its own folder"""
    unbounded: bool | None = None
    """draw in what lies beyond the box, for scenes without end; default for COLMAP, Polycam and Record3D"""
    samples: int = 128
    """steps along the diagonal of the box"""

    needs = "--data PATH, photographs with poses"
    before = {"tight": False}

    @cached_property
    def photographs(self) -> dict[str, Photographs]:  # type: ignore[override]
        """The photographs of both splits, in one box."""
        loaded = {split: self.load_split(split) for split in ("train", "test")}
        if self.bounds is not None or not self.tight:
            return loaded
        box = silhouette_box(loaded["train"])
        return {split: replace(photographs, bounds=box) for split, photographs in loaded.items()}

    def load_split(self, split: str) -> Photographs:
        """Read the photographs."""
        if not self.data:
            raise InputError("nerf needs photographs", do="give --data PATH; without data of your own, run nerf_scene")
        box = None if self.bounds is None else tuple(zip(self.bounds[::2], self.bounds[1::2], strict=True))
        options = {"downscale": self.downscale, "background": self._colour(), "bounds": box}
        options |= {"near": self.near, "far": self.far, "ndc": self.ndc, "hold_out": self.hold_out}
        options |= {"allow_outside": self.allow_outside, "unbounded": self.unbounded}
        return read_photographs(self.data, split, **options)

    @property
    def contraction(self) -> Contraction | None:
        """How space without end is drawn into the box of the scene."""
        return self.photographs["train"].contraction

    def _colour(self) -> str | tuple[float, ...] | None:
        if self.background is None or "," not in self.background:
            return self.background
        try:
            return tuple(float(value) for value in self.background.split(","))
        except ValueError as error:
            raise InputError(
                f"background must be white, black, none, or three numbers as in 0.2,0.4,1, got '{self.background}'"
            ) from error

    def recipe(self) -> Recipe:
        """A small network on trainable grids."""
        adam = partial(torch.optim.Adam, lr=1e-2, betas=(0.9, 0.99), eps=1e-15, fused=True)
        return Recipe(
            field=partial(MLP, width=64, depth=1, activation=ReLU(), encoding=FeatureGrid(2, 32, 128, 4)),
            stages=(Stage(adam, steps=4000, schedule="cosine"),),
            run=RunOptions(log_every=100),
        )


if __name__ == "__main__":
    main(NeRF)
