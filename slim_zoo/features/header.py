"""The header of a file of features."""

from __future__ import annotations

import dataclasses
import json
import math
import operator
import zlib
from typing import Any


@dataclasses.dataclass(frozen=True)
class Header:
  """Header of a feature file; all of it is known before the first feature is computed.

  Attributes:
    num_examples: how many examples there are.
    shape: of one example's features.
    class_names: one per label; () if they are not known.
    facts: what the features depend on, as JSON holds it: network, end point, weights,
      preprocessing and data; {} if that is not known.
  """
  num_examples: int
  shape: tuple[int, ...]
  class_names: tuple[str, ...]
  facts: dict[str, Any]

  @property
  def width(self) -> int:
    """The number of values per example."""
    return math.prod(self.shape)


def header_text(header: Header) -> str:
  """Returns a header as JSON, with a checksum, since not every format has one for it."""
  entries = dataclasses.asdict(header)
  return json.dumps({**entries, 'crc32': _checksum(entries)})


def _checksum(entries: dict[str, Any]) -> int:
  return zlib.crc32(json.dumps(entries, sort_keys=True).encode())


def header_of(text: str | bytes) -> Header:
  """Parses the text that `header_text` returned.

  Raises:
    ValueError: if it is any other text.
  """
  try:
    entries = json.loads(text)
    if not isinstance(entries, dict):
      raise TypeError
    if entries.pop('crc32') != _checksum(entries):
      raise ValueError
    count, *shape = (operator.index(n) for n in (entries['num_examples'], *entries['shape']))
    header = Header(count, tuple(shape), tuple(map(str, entries['class_names'])),
                    dict(entries['facts']))
  except (KeyError, RecursionError, TypeError, ValueError) as error:
    raise ValueError('no description of its features') from error
  if min(count, *shape, 1) < 1:
    raise ValueError(f'{count} examples of the shape {header.shape}')
  return header
