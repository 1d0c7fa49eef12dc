"""Studies of how fields train: fair comparisons of methods, and analyses of one run."""
