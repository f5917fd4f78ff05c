"""Writes the tables and vectors of `.tflite` models that no converter makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import flatbuffers


def reference(place: int) -> tuple[str, int]:
  """A field of `table` that leads to a table, a vector or a text."""
  return 'UOffsetTRelative', place


def table(builder: flatbuffers.Builder, fields: Mapping[int, tuple[str, Any]]) -> int:
  """Writes a table: `{number: (kind, value)}`."""
  builder.StartObject(8)
  for number, (kind, value) in fields.items():
    getattr(builder, f'Prepend{kind}Slot')(number, value, 0)
  return builder.EndObject()


def vector(builder: flatbuffers.Builder, values: Sequence[Any],
           kind: str = 'UOffsetTRelative') -> int:
  """Writes a vector of numbers, or of tables by their places."""
  width = 8 if kind == 'Int64' else 4
  builder.StartVector(width, len(values), width)
  for value in reversed(values):
    getattr(builder, f'Prepend{kind}')(value)
  return builder.EndVector()


def finish(builder: flatbuffers.Builder, *, codes: Sequence[int], graph: int,
           buffers: int) -> bytes:
  """Finishes a model of one graph, with the numbers of its kinds of operators."""
  kinds = vector(builder, [table(builder, {0: ('Int8', code)}) for code in codes])
  graphs = vector(builder, [graph])
  builder.Finish(table(builder, {1: reference(kinds), 2: reference(graphs),
                                 4: reference(buffers)}), b'TFL3')
  return bytes(builder.Output())
