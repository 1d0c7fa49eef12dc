"""Fields seen through a measurement operator."""
