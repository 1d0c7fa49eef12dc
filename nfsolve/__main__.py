"""``python -m nfsolve`` is the command ``nfsolve``."""

from nfsolve.cli import run_cli

raise SystemExit(run_cli())
