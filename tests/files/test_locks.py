"""Locks on file systems of clusters, where files go away under those that have them open."""

from __future__ import annotations

import errno
import fcntl
import os

import pytest

from files import locks


@pytest.mark.parametrize(('module', 'name'), [(os, 'fstat'), (fcntl, 'flock')])
def test_a_lock_that_another_machine_removed_is_made_anew(tmp_path, monkeypatch, module, name):
  original, calls = getattr(module, name), []

  def stale_at_first(*arguments):
    calls.append(arguments)
    if len(calls) == 1:
      raise OSError(errno.ESTALE, 'Stale file handle')
    return original(*arguments)

  monkeypatch.setattr(module, name, stale_at_first)
  with locks.locked(tmp_path / 'store'):
    assert len(calls) == 2
    assert [path.name for path in tmp_path.iterdir()] == ['store.lock']
  assert not list(tmp_path.iterdir())


def test_a_lock_that_was_removed_and_made_by_another_is_not_taken(tmp_path, monkeypatch):
  original, calls = fcntl.flock, []

  def remove_at_first(file, flags):
    calls.append(file)
    if len(calls) < 3:  # As the one before does at its end; the next may have begun by then.
      os.unlink(tmp_path / 'store.lock')
      if len(calls) == 2:
        (tmp_path / 'store.lock').touch()
    return original(file, flags)

  monkeypatch.setattr(fcntl, 'flock', remove_at_first)
  with locks.locked(tmp_path / 'store'):
    assert len(calls) == 3


def test_other_errors_are_told(tmp_path, monkeypatch):
  def fail(*_):
    raise OSError(errno.EIO, 'Input/output error')

  monkeypatch.setattr(fcntl, 'flock', fail)
  with pytest.raises(OSError, match='Input/output'), locks.locked(tmp_path / 'store'):
    pass
