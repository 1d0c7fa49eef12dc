"""Linear algebra of the curvature methods: pure functions of tensors."""
