"""The PINNacle benchmark (Hao et al., arXiv 2306.08827): its PDEs as intended, with what was repaired."""
