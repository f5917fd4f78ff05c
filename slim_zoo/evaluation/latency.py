"""How long a network takes for one image."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

# Calls that are timed, after some that are not, and seconds after which fewer are enough.
_UNTIMED, _TIMED, _SECONDS, _FEWEST = 3, 30, 5.0, 5


def median_seconds(call: Callable[[], object]) -> float:
  """Returns the median time of a call, which has to return only when its work is done."""
  for _ in range(_UNTIMED):
    call()
  times: list[float] = []
  while len(times) < _TIMED and (len(times) < _FEWEST or sum(times) < _SECONDS):
    start = time.perf_counter()
    call()
    times.append(time.perf_counter() - start)
  return statistics.median(times)
