"""Problems whose unknown is an operator: from input functions to solutions of a PDE."""
