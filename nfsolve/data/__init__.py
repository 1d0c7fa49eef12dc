"""Every reader of files: tables, maps, pictures, sounds, slices, scans and posed photographs. It knows no problem."""

from nfsolve._core.arrays import read_arrays

__all__ = ["read_arrays"]
