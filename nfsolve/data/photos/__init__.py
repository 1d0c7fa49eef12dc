"""Posed photographs from files: Blender, nerfstudio, instant-ngp, LLFF, COLMAP and phones, in folders, zips, .npz."""

from nfsolve.data.photos.photographs import Photographs, read_photographs
from nfsolve.data.photos.silhouettes import silhouette_box
from nfsolve.data.photos.transforms import read_cameras
from nfsolve.data.photos.writing import write_transforms

__all__ = ["Photographs", "read_cameras", "read_photographs", "silhouette_box", "write_transforms"]
