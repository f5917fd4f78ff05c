"""Locks on cluster file systems, where open files can disappear."""

from __future__ import annotations

import errno
import fcntl
import os

import pytest

from files import locks


@pytest.mark.parametrize(('module', 'name'), [(os, 'fstat'), (fcntl, 'flock')])
def test_lock_removed_by_another_machine_is_created_again(tmp_path, monkeypatch, module, name):
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


def test_lock_replaced_by_another_process_is_not_used(tmp_path, monkeypatch):
  original, calls = fcntl.flock, []

  def remove_at_first(file, flags):
    calls.append(file)
    if len(calls) < 3:  # As the previous holder does at its end.
      os.unlink(tmp_path / 'store.lock')
      if len(calls) == 2:
        (tmp_path / 'store.lock').touch()
    return original(file, flags)

  monkeypatch.setattr(fcntl, 'flock', remove_at_first)
  with locks.locked(tmp_path / 'store'):
    assert len(calls) == 3


def test_other_errors_are_raised(tmp_path, monkeypatch):
  def fail(*_):
    raise OSError(errno.EIO, 'Input/output error')

  monkeypatch.setattr(fcntl, 'flock', fail)
  with pytest.raises(OSError, match='Input/output'), locks.locked(tmp_path / 'store'):
    pass
