"""How each reference solution of the gallery is computed: spectral and exact methods in float64."""
