"""Progress of a run: a bar on a terminal, plain lines in a log file."""

from __future__ import annotations

import sys
import time

import tqdm

# In 80 columns, the bar itself is what is cut.
_BAR = '{percentage:3.0f}% {bar} {n_fmt}/{total_fmt}{postfix}'
_COUNT = 'step {n_fmt}{postfix}'


class Progress:
  """Shows steps, their speed and the time left.

  The speed counts the steps alone. The time left also counts the pauses between them, for
  validation and saving, as there were until now; neither counts the first call, which compiles.

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
    self._bar = tqdm.tqdm(total=last_step, initial=first_step, dynamic_ncols=True,
                          disable=not self._is_terminal, bar_format=_BAR if last_step else _COUNT)
    self._logged_step = first_step
    self._seconds = 0.0
    self._steps_until_now = first_step
    self._paced_from: tuple[int, Stopwatch] | None = None  # The end of the first call.

  def advance(self, step: int, seconds: float, text: str = '') -> None:
    """Records that the run has reached `step` after that many more seconds of work.

    Args:
      step: the number of steps until now.
      seconds: how long the steps since the last call took.
      text: measurements of these steps, for the bar.
    """
    speed = (step - self._steps_until_now) * self._batch_size / max(seconds, 1e-9)
    if self._paced_from is None:
      self._paced_from = step, Stopwatch()
    self._bar.set_postfix_str(
        ', '.join(filter(None, [text, f'{speed:.4g} images/s', self._time_left(step)])),
        refresh=False)
    self._bar.update(step - self._steps_until_now)
    self._steps_until_now = step
    self._seconds += seconds

  def _time_left(self, step: int) -> str:
    if self._last_step is None or self._paced_from is None or step == self._paced_from[0]:
      return ''
    first, watch = self._paced_from
    return f'{_clock(round(watch.seconds / (step - first) * (self._last_step - step)))} left'

  def log(self, text: str) -> None:
    """Prints measurements on a line of their own with the time left; not beside a bar."""
    steps = self._steps_until_now - self._logged_step
    if steps:
      self.images_per_second = steps * self._batch_size / max(self._seconds, 1e-9)
      self._logged_step, self._seconds = self._steps_until_now, 0.0
    speed = f'{self.images_per_second:.4g} images/s'
    if self._is_terminal and not self._keeps_lines:
      return
    place = f'step {self._steps_until_now}'
    if self._last_step is not None:
      place = f'{place}/{self._last_step}'
    self.say(', '.join(filter(None, [f'{place}: {text}', speed,
                                     self._time_left(self._steps_until_now)])))

  def pause(self, text: str) -> None:
    """Says behind the bar what is being done instead of training."""
    self._bar.set_postfix_str(text)

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
