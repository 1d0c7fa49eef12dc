"""Demonstrate claims of papers on a problem, or on the run in a folder.

python -m scripts.demonstrations image --steps 100 --field.init ws --field.init.alpha 2
python -m scripts.demonstrations runs/DIR --only hyperbolas
"""

import sys

from nfsolve._core.errors import InputError
from nfsolve.cli.analyze import analyze_command
from scripts.demonstrations import DEMONSTRATIONS

if __name__ == "__main__":
    try:
        sys.exit(analyze_command(sys.argv[1:], DEMONSTRATIONS))
    except InputError as error:
        sys.exit(str(error))
