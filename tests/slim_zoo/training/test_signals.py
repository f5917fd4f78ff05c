"""Ctrl-C and SIGTERM as a wish to save and leave; a second one acts as usual."""

from __future__ import annotations

import signal

import pytest

from slim_zoo.training.signals import StopRequests


@pytest.fixture
def caught():
  """Handlers as a program might have them; lists what reaches them."""
  numbers = []
  before = {number: signal.signal(number, lambda number, frame: numbers.append(number))
            for number in (signal.SIGINT, signal.SIGTERM)}
  yield numbers
  for number, handler in before.items():
    signal.signal(number, handler)


@pytest.mark.parametrize('first', [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize('second', [signal.SIGINT, signal.SIGTERM])
def test_the_first_is_noted_and_the_second_acts(caught, first, second):
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


def test_the_second_ctrl_c_is_pythons():
  if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
    pytest.skip('something around the tests handles Ctrl-C itself')
  with StopRequests():
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
      signal.raise_signal(signal.SIGINT)


def test_a_signal_that_is_ignored_stays_so():
  before = signal.signal(signal.SIGINT, signal.SIG_IGN)
  try:
    with StopRequests() as requests:
      signal.raise_signal(signal.SIGINT)
    assert requests.received is None
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
  finally:
    signal.signal(signal.SIGINT, before)
