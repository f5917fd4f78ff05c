"""Finds the builders of files in the tests of weights."""

from __future__ import annotations

import pathlib
import sys

sys.path += [str(pathlib.Path(__file__).parents[1] / 'weights'),
             str(pathlib.Path(__file__).parents[2] / 'files')]
