"""What the tests of the programs in `scripts` share."""

from __future__ import annotations

import importlib
import pathlib

import pytest


@pytest.fixture(scope='session')
def program():
  """Imports a program of `scripts`, which finds those beside it, by its name."""
  with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(pathlib.Path(__file__).parents[2] / 'scripts'))
    yield importlib.import_module
