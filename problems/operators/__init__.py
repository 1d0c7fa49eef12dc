"""Solution operators of PDEs, learned from physics, from labels, or from both."""
