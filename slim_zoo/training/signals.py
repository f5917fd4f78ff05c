"""Signals as requests to save and stop.

Ctrl-C; SIGTERM, by which clusters end a job; SIGHUP, when a terminal or an ssh session closes; and
SIGUSR1, by which Slurm and others warn of the end of the time limit.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


class StopRequests:
  """Records the first such signal inside a `with` block, instead of ending the process.

  A second one acts as usual, for users who cannot wait.

  Attributes:
    received: the recorded signal, or None.
  """

  def __init__(self):
    self.received: signal.Signals | None = None
    self._previous = {}

  def __enter__(self) -> StopRequests:
    for number in _SIGNALS:
      if signal.getsignal(number) != signal.SIG_IGN:  # Ignored under nohup and `&`.
        self._previous[number] = signal.signal(number, self._note)
    return self

  def __exit__(self, *_) -> None:
    self._restore()

  def _restore(self) -> None:
    while self._previous:
      signal.signal(*self._previous.popitem())

  def _note(self, number: int, frame: FrameType | None) -> None:
    del frame
    self.received = signal.Signals(number)
    self._restore()


def counts(received: signal.Signals | None) -> list[int]:
  """Returns 1 at the place of a signal and 0 elsewhere, to be added over several processes."""
  return [int(number == received) for number in _SIGNALS]


def first(counted: Iterable[float]) -> signal.Signals | None:
  """Returns a signal that was counted; None if there is none."""
  return next((number for number, count in zip(_SIGNALS, counted, strict=True) if count), None)
