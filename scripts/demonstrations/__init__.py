"""Claims of papers, demonstrated on a subject of `nfsolve.studies.analysis`: numbers and a figure each.

- ``bessel``: harmonics of an initial sine network (weight scaling);
- ``zeros``: zeros of Hessian-vector products by activation (curvature preconditioners);
- ``hyperbolas``: the loss in the plane of a factor and its vector (random weight factorization).
"""

from scripts.demonstrations import bessel, hyperbolas, zeros

DEMONSTRATIONS = {"bessel": bessel, "zeros": zeros, "hyperbolas": hyperbolas}
