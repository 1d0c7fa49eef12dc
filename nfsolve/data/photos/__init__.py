"""Posed photographs from files: Blender, nerfstudio, instant-ngp and LLFF layouts, in folders, zips and .npz."""

from nfsolve.data.photos.photographs import Photographs, read_photographs
from nfsolve.data.photos.writing import write_transforms

__all__ = ["Photographs", "read_photographs", "write_transforms"]
