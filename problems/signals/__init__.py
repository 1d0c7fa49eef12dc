"""Fields fitted to signals: images, sound, data on the sphere, occupancy of shapes."""
