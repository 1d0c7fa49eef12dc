"""Pictures of solutions, of operators, and of problems before training."""
