"""Progress of long tasks: a bar on a terminal, otherwise one line per minute."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator

import tqdm

_SECONDS_A_LINE = 60


def show(items: Iterable, total: int | None, *, unit: str, description: str = '') -> Iterator:
  """Yields items, and shows how many of them are done.

  Args:
    items: the items to process.
    total: their number; None if it is not known.
    unit: what one of them is called.
    description: what is being done.
  """
  with counter(total, unit=unit, description=description) as done:
    for item in items:
      yield item
      done.update(1)


def counter(total: int | None, *, unit: str, description: str = '', initial: int = 0,
            in_thousands: bool = False) -> contextlib.AbstractContextManager:
  """Makes a progress display for a `with` block; its `update(count)` adds to the number done.

  It is written to stderr. Tasks of less than a minute leave nothing in a log file.

  Args:
    total, unit, description: see `show`.
    initial: number of items that were done before.
    in_thousands: whether large numbers are shown as 1.2k, 3.4M.
  """
  if sys.stderr.isatty():
    return tqdm.tqdm(total=total, unit=unit, desc=description or None, initial=initial,
                     unit_scale=in_thousands, leave=False)
  return contextlib.nullcontext(_Lines(total, unit, description=description, initial=initial,
                                       in_thousands=in_thousands))


class _Lines:
  """Writes progress to a log."""

  def __init__(self, total: int | None, unit: str, *, description: str, initial: int,
               in_thousands: bool):
    """Starts the clock."""
    self._facts = {'total': total, 'unit': unit, 'prefix': description, 'initial': initial,
                   'unit_scale': in_thousands}
    self._done = initial
    self._start = self._told = time.monotonic()

  def update(self, count: int) -> None:
    """Counts, and prints a line if the last one was long ago."""
    self._done += count
    now = time.monotonic()
    if now - self._told >= _SECONDS_A_LINE:
      self._told = now
      text = tqdm.tqdm.format_meter(self._done, elapsed=now - self._start, ncols=0, **self._facts)
      print(text.strip(), file=sys.stderr, flush=True)
