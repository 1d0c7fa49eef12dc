"""What the names of coordinates mean by themselves."""

TIMES = ("t", "time", "tau")
"""Names of coordinates that are times, along which ``lap_u`` does not differentiate."""
