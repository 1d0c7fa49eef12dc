"""Problems whose residuals are the conditions of a partial differential equation."""
