"""The command line: run, show, new, list, report, compare and the other commands."""

from nfsolve.cli.commands import run_cli, run_problem

__all__ = ["run_cli", "run_problem"]
