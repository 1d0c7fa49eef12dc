"""Partial differential equations, forward and inverse."""
