"""Progress: a bar on a terminal, and one line per minute in a log."""

from __future__ import annotations

import io
import sys
import time

import pytest

from files import progress


@pytest.fixture
def clock(monkeypatch):
  """`clock(seconds)` lets time pass."""
  now = [1000.0]

  def advance(seconds):
    now[0] += seconds

  monkeypatch.setattr(time, 'monotonic', lambda: now[0])
  return advance


def _work(clock, seconds, count=5, **arguments):
  done = []
  for item in progress.show(range(count), count, unit='image', **arguments):
    clock(seconds)
    done.append(item)
  assert done == list(range(count))


def test_log_gets_one_line_per_minute(clock, capsys):
  _work(clock, 25, description='checking images')
  assert capsys.readouterr().err.splitlines() == [
    'checking images:  60% 3/5 [01:15<00:50, 25.00s/image]']
  _work(clock, 100, count=2)
  assert [line.split()[:2] for line in capsys.readouterr().err.splitlines()] == [
    ['50%', '1/2'], ['100%', '2/2']]


def test_log_gets_no_line_for_short_work(clock, capsys):
  _work(clock, 11)
  assert not any(capsys.readouterr())


def test_counts_of_an_unknown_total(clock, capsys):
  with progress.counter(None, unit='B', description='weights.tar', initial=2**20,
                        in_thousands=True) as done:
    clock(61)
    done.update(5 * 10**6)
  line = capsys.readouterr().err.strip()
  assert line == 'weights.tar: 6.05MB [01:01, 82.0kB/s]'


def test_terminal_gets_a_bar(monkeypatch):
  terminal = io.StringIO()
  terminal.isatty = lambda: True
  monkeypatch.setattr(sys, 'stderr', terminal)
  assert list(progress.show('abc', 3, unit='image', description='checking')) == list('abc')
  assert 'checking:   0%|' in terminal.getvalue()
