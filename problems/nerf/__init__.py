"""Radiance fields from posed photographs, and absorption from X-ray pictures."""
