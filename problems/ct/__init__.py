"""Computed tomography: attenuation from line integrals."""
