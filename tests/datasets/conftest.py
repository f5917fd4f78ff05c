"""Shared by the tests of datasets."""

from __future__ import annotations

import pathlib
import sys

import pytest

# `import samples`: the small datasets that the tests write.
sys.path.append(str(pathlib.Path(__file__).parent))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
  """Gives every test its own cache."""
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path_factory.mktemp('cache')))
