"""What the tests of readers share: attack files, damages, and a guarded process to read them in."""

from __future__ import annotations

import importlib.util
import pathlib
import sys
import types

import pytest

sys.path.append(str(pathlib.Path(__file__).parents[2] / 'files'))

import file_server


@pytest.fixture(scope='session')
def attacks() -> types.ModuleType:
  """The module `test_unpickling`, loaded from its path, for the tests are no package."""
  spec = importlib.util.spec_from_file_location(
    'pickle_attacks', pathlib.Path(__file__).with_name('test_unpickling.py'))
  module = importlib.util.module_from_spec(spec)
  sys.modules[spec.name] = module  # Pickles of its classes look for it there.
  spec.loader.exec_module(module)
  return module


@pytest.fixture
def serve():
  """Starts a server: `serve(content, **behaviour) -> (address, log)`."""
  with file_server.servers() as start:
    yield start
