"""The command line: run, list, eval, compare, cite."""

from nfsolve.cli.commands import run_cli, run_problem

__all__ = ["run_cli", "run_problem"]
