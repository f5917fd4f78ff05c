"""Shared by the tests of the programs in `scripts`."""

from __future__ import annotations

import importlib
import pathlib

import pytest


@pytest.fixture(scope='session')
def program():
  """Imports a program of `scripts` by name, together with the modules it imports there."""
  with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(pathlib.Path(__file__).parents[2] / 'scripts'))
    yield importlib.import_module
