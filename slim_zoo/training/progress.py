"""Progress of a run: a bar on a terminal, plain lines in a log file."""

from __future__ import annotations

import sys
import time

import tqdm


class Progress:
  """Counts steps and their time, without the pauses in between.

  Attributes:
    images_per_second: over the steps since the last `log`.
  """

  def __init__(self, *, first_step: int, last_step: int | None, batch_size: int,
               keeps_lines: bool = False):
    """Starts the clock.

    Args:
      first_step: the step from which the run continues.
      last_step: the step at which it ends; None if it has no end.
      batch_size: examples per step.
      keeps_lines: whether each measurement is printed as a line of its own even on a terminal, for
        runs with few of them.
    """
    self.images_per_second = 0.0
    self._batch_size = batch_size
    self._last_step = last_step
    self._keeps_lines = keeps_lines
    # If stdout goes to a log (`| tee log`), it gets lines even if stderr is a terminal.
    self._is_terminal = sys.stderr.isatty() and sys.stdout.isatty()
    self._bar = tqdm.tqdm(total=last_step, initial=first_step, unit='step', dynamic_ncols=True,
                          disable=not self._is_terminal)
    self._logged_step = first_step
    self._seconds = 0.0
    self._steps_until_now = first_step

  def advance(self, step: int, seconds: float) -> None:
    """Records that the run has reached `step` after that many more seconds of work."""
    self._bar.update(step - self._steps_until_now)
    self._steps_until_now = step
    self._seconds += seconds

  def log(self, text: str) -> None:
    """Shows measurements, behind the bar or on a line of their own with the time left."""
    steps = self._steps_until_now - self._logged_step
    if steps:
      self.images_per_second = steps * self._batch_size / max(self._seconds, 1e-9)
      self._logged_step, self._seconds = self._steps_until_now, 0.0
    speed = f'{self.images_per_second:.4g} images/s'
    if self._is_terminal and not self._keeps_lines:
      self._bar.set_postfix_str(f'{text}, {speed}')
      return
    place, left = f'step {self._steps_until_now}', ''
    if self._last_step is not None:
      images = (self._last_step - self._steps_until_now) * self._batch_size
      seconds = round(images / max(self.images_per_second, 1e-9))
      place, left = f'{place}/{self._last_step}', f', {_clock(seconds)} left'
    self.say(f'{place}: {text}, {speed}{left}')

  def say(self, text: str) -> None:
    """Prints a line without disturbing the bar."""
    if self._is_terminal:
      self._bar.clear()
    print(text, flush=True)
    if self._is_terminal:
      self._bar.refresh()

  def close(self) -> None:
    """Leaves the bar as it is."""
    self._bar.close()


def _clock(seconds: int) -> str:
  return tqdm.tqdm.format_interval(seconds)


class Stopwatch:
  """Measures the wall time since its creation."""

  def __init__(self):
    self._start = time.perf_counter()

  @property
  def seconds(self) -> float:
    """Seconds since the start."""
    return time.perf_counter() - self._start
