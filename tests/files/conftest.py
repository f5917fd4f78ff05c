"""Shared by the tests of files: a server."""

from __future__ import annotations

import pathlib
import sys

import pytest

sys.path.append(str(pathlib.Path(__file__).parent))

import file_server


@pytest.fixture
def serve():
  """Starts a server: `serve(content, **behaviour) -> (address, log)`."""
  with file_server.servers() as start:
    yield start
