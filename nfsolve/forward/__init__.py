"""Differentiable measurements of a field, which enters as a callback: line integrals, cameras, rendering."""
