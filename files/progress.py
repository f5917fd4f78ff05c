"""Showing how far something long is: a bar on a terminal, elsewhere a line a minute."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator

import tqdm

_SECONDS_A_LINE = 60


def show(items: Iterable, total: int, *, unit: str, description: str = '') -> Iterator:
  """Yields items, and shows how many of them are done with.

  Args:
    items: what is to be done.
    total: how many there are.
    unit: what one of them is.
    description: what is done.
  """
  with counter(total, unit=unit, description=description) as done:
    for item in items:
      yield item
      done.update(1)


def counter(total: int | None, *, unit: str, description: str = '', initial: int = 0,
            in_thousands: bool = False) -> contextlib.AbstractContextManager:
  """Makes what shows progress; in a `with` block, its `update(count)` tells of so many more.

  It goes to stderr. A log file gets nothing of what takes less than a minute.

  Args:
    total, unit, description: see `show`; the total is None where nobody knows.
    initial: how many were done before.
    in_thousands: whether large numbers are shown as 1.2k, 3.4M.
  """
  if sys.stderr.isatty():
    return tqdm.tqdm(total=total, unit=unit, desc=description or None, initial=initial,
                     unit_scale=in_thousands, leave=False)
  return contextlib.nullcontext(_Lines(total, unit, description=description, initial=initial,
                                       in_thousands=in_thousands))


class _Lines:
  """Tells a log how far something is."""

  def __init__(self, total: int | None, unit: str, *, description: str, initial: int,
               in_thousands: bool):
    """Starts the clock."""
    self._facts = {'total': total, 'unit': unit, 'prefix': description, 'initial': initial,
                   'unit_scale': in_thousands}
    self._done = initial
    self._start = self._told = time.monotonic()

  def update(self, count: int) -> None:
    """Counts, and prints a line if the last one is long ago."""
    self._done += count
    now = time.monotonic()
    if now - self._told >= _SECONDS_A_LINE:
      self._told = now
      text = tqdm.tqdm.format_meter(self._done, elapsed=now - self._start, ncols=0, **self._facts)
      print(text.strip(), file=sys.stderr, flush=True)
