"""Shared by the tests of readers: attack files, damage, and a guarded process to read them."""

from __future__ import annotations

import importlib.util
import pathlib
import sys
import types

import pytest

sys.path += [str(pathlib.Path(__file__).parents[2] / 'files'), str(pathlib.Path(__file__).parent)]

import file_server


@pytest.fixture(scope='session')
def attacks() -> types.ModuleType:
  """The module `test_unpickling`, loaded from its path, since tests are not a package."""
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
