"""`python -m debros.cli` is the `debros` command, where its script is not on the path."""

from __future__ import annotations

import sys

from debros.cli import main

sys.exit(main())
