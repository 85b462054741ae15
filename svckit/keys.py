"""Makes and rotates the keys that sign tokens: see `python -m svckit.keys --help`."""

import sys

from svckit.auth.keys import main

if __name__ == "__main__":
    sys.exit(main())
