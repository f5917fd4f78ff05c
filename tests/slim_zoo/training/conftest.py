"""Fixtures of the tests of training."""

import pathlib
import sys

# For the module `toys`.
sys.path.append(str(pathlib.Path(__file__).parent))
