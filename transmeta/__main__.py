"""`python -m transmeta`: the same as the command `transmeta`."""

import sys

from transmeta.cli import main

if __name__ == "__main__":
    sys.exit(main())
