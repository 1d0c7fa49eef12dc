"""The options of a run, read off the constructors of the problem, the field and the optimizers."""
