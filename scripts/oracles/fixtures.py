"""The fixture files: an oracle's results, written in its environment and read by the tests."""

from __future__ import annotations

import gzip
import json
import pathlib
from collections.abc import Sequence

import numpy as np

from scripts.oracles import values

FOLDER = pathlib.Path(__file__).resolve().parents[2] / 'tests' / 'nets' / 'oracles'
LARGE = 2000  # Smallest size of a variable whose initial values are compared.


def rounded(array):
  """Returns numbers as nested lists, rounded to the digits of a float32."""
  return [rounded(row) for row in array] if np.ndim(array) else float(f'{array:.9g}')


def gradient_summary(name: str, gradient: np.ndarray) -> list[float]:
  """Returns a gradient's norm and its product with random coefficients."""
  gradient = np.asarray(gradient, np.float64)
  product = np.sum(gradient * values.coefficients(name, gradient.shape))
  return rounded(np.array([np.linalg.norm(gradient), product]))


def path(oracle: str, name: str) -> pathlib.Path:
  """Returns the path of an oracle's results for a network."""
  return FOLDER / oracle / f'{name}.json.gz'


def write(oracle: str, name: str, content: dict) -> pathlib.Path:
  """Writes a fixture; the same content gives the same bytes."""
  file = path(oracle, name)
  file.parent.mkdir(parents=True, exist_ok=True)
  text = json.dumps(content, indent=0, sort_keys=True)
  file.write_bytes(gzip.compress(text.encode(), mtime=0))
  return file


def read(oracle: str, name: str) -> dict:
  """Reads a fixture."""
  return json.loads(gzip.decompress(path(oracle, name).read_bytes()))


def names(oracle: str) -> Sequence[str]:
  """Lists the networks for which an oracle has results."""
  return sorted(file.name.removesuffix('.json.gz') for file in (FOLDER / oracle).glob('*.gz'))
