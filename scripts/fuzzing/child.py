"""The loop of the processes that read damaged files."""

from __future__ import annotations

import json
import resource
import signal
from collections.abc import Callable, Sequence
from typing import Any


def read_all(arguments: Sequence[str], make: Callable[[int], Any],
             read: Callable[[Any], dict]) -> None:
  """Reads damaged copies one by one.

  For each copy, prints its number on one line and its result as JSON on the next. An alarm ends the
  process if a copy takes too long.

  Args:
    arguments: the first number, the end of the range, seconds per copy, and memory in bytes.
    make: `make(number)` creates a copy.
    read: `read(copy)` returns what `runs.Result` is made of.
  """
  first, end, seconds, memory = map(int, arguments)
  resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
  resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
  for number in range(first, end):
    copy = make(number)
    print(number, flush=True)
    signal.alarm(seconds)
    found = read(copy)
    signal.alarm(0)
    print(json.dumps(found), flush=True)
