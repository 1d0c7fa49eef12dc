"""Refuse to start in a folder that was removed, where PyTorch would end the process in its own words."""

import os
import sys

try:
    os.getcwd()
except OSError:
    print("error: the current folder was removed. Go to one that exists", file=sys.stderr)
    raise SystemExit(2) from None
