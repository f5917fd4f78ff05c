"""Parts of a split whose results are cached separately."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

# If there are several pieces, their average number of examples is in [LEAST, 2 * LEAST).
LEAST = 4096


class Piece(NamedTuple):
  """A part of the examples of a split.

  Attributes:
    positions: int64, the examples' positions, in ascending order.
    files: the files that contain these examples.
    order: makes the dataset of these examples in this order, like `dataset.Examples.order`.
  """
  positions: np.ndarray
  files: Sequence[str]
  order: Callable[[], tf.data.Dataset]


def by_id(ids: np.ndarray) -> list[np.ndarray]:
  """Divides examples by their ids only, so that a new example changes only its own piece.

  The number of pieces is a function of the number of examples; all pieces change only when it has
  doubled.

  Args:
    ids: int64 [num_examples], hashes of the examples' names.

  Returns:
    The positions of each piece, ascending; no piece is empty.
  """
  number = 1 << max(0, (len(ids) // LEAST).bit_length() - 1)
  chosen = ids % number
  order = np.argsort(chosen, kind='stable')
  ends = np.cumsum(np.bincount(chosen, minlength=number))
  return [positions for positions in np.split(order, ends[:-1]) if len(positions)]
