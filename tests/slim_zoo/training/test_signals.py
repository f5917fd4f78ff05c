"""Signals request to save and stop; a second one acts as usual."""

from __future__ import annotations

import signal

import pytest

from slim_zoo.training.signals import StopRequests

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


@pytest.fixture
def caught():
  """A program's own handlers; returns a list of the signals they receive."""
  numbers = []
  before = {number: signal.signal(number, lambda number, frame: numbers.append(number))
            for number in _SIGNALS}
  yield numbers
  for number, handler in before.items():
    signal.signal(number, handler)


@pytest.mark.parametrize('first', _SIGNALS)
@pytest.mark.parametrize('second', [signal.SIGINT, signal.SIGTERM])
def test_first_signal_is_recorded_and_second_acts(caught, first, second):
  with StopRequests() as requests:
    assert requests.received is None
    signal.raise_signal(first)
    assert requests.received is first
    assert caught == []
    signal.raise_signal(second)
    assert requests.received is first
    assert caught == [second]
  signal.raise_signal(first)
  assert caught == [second, first]


def test_leaving_restores_the_handlers(caught):
  with pytest.raises(KeyError), StopRequests():
    raise KeyError
  signal.raise_signal(signal.SIGINT)
  assert caught == [signal.SIGINT]


def test_second_ctrl_c_raises_keyboard_interrupt():
  if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
    pytest.skip('something around the tests handles Ctrl-C itself')
  with StopRequests():
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
      signal.raise_signal(signal.SIGINT)


def test_ignored_signal_stays_ignored():
  before = signal.signal(signal.SIGINT, signal.SIG_IGN)
  try:
    with StopRequests() as requests:
      signal.raise_signal(signal.SIGINT)
    assert requests.received is None
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
  finally:
    signal.signal(signal.SIGINT, before)
