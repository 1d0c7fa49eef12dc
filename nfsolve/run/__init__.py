"""A run: solve, the training loop, windows of time, the run folder, progress and the solution."""
