"""Tomographic scans from .npz and .mat files: sinogram, angles, geometry and flat fields."""
