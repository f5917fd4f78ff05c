"""Only one job at a time can write to a folder."""

from __future__ import annotations

import errno
import fcntl
import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest

from slim_zoo.training import run_folder

_ROOT = pathlib.Path(run_folder.__file__).parents[2]
_HOLD = """
import sys
from slim_zoo.training import run_folder
with run_folder.locked(sys.argv[1]):
  print('held', flush=True)
  sys.stdin.read()
"""


def _hold(folder) -> subprocess.Popen:
  """Starts a process that holds the folder until its input is closed."""
  process = subprocess.Popen([sys.executable, '-c', _HOLD, str(folder)], cwd=_ROOT, text=True,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
  assert process.stdout.readline() == 'held\n'
  return process


def test_folder_is_created(tmp_path):
  with run_folder.locked(tmp_path / 'a' / 'b') as folder:
    assert folder == tmp_path / 'a' / 'b'
    assert folder.is_dir()
  with run_folder.locked(str(tmp_path / 'a' / 'b')):
    pass


@pytest.mark.parametrize('end', [signal.SIGKILL, signal.SIGTERM, None])
def test_second_process_is_rejected_until_the_first_ends(tmp_path, end):
  with _hold(tmp_path) as process:
    for _ in range(2):  # A rejected attempt keeps the lock.
      with pytest.raises(ValueError, match=rf'{re.escape(str(tmp_path))}'
                         rf'.*\b{process.pid}\b.+--train_dir'), \
          run_folder.locked(tmp_path):
        pass
    if end:
      process.send_signal(end)
    process.communicate()
  assert process.returncode == (-end if end else 0)
  with run_folder.locked(tmp_path):
    assert (tmp_path / '.lock').read_text().startswith(f'process {os.getpid()} on ')


def test_second_lock_in_this_process_is_rejected(tmp_path):
  with run_folder.locked(tmp_path), \
      pytest.raises(ValueError, match=rf'\b{os.getpid()}\b'), run_folder.locked(tmp_path):
    pass


@pytest.mark.parametrize('code', [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_file_system_without_locks(tmp_path, monkeypatch, capsys, code):
  def refuse(*_):
    raise OSError(code, os.strerror(code))

  monkeypatch.setattr(fcntl, 'flock', refuse)
  with run_folder.locked(tmp_path) as folder:
    assert folder == tmp_path
  assert str(tmp_path) in capsys.readouterr().out


def test_error_releases_the_lock(tmp_path):
  with pytest.raises(KeyError), run_folder.locked(tmp_path):
    raise KeyError
  with run_folder.locked(tmp_path):
    pass


def test_file_in_place_of_the_folder(tmp_path):
  (tmp_path / 'run').write_text('mine')
  with pytest.raises(FileExistsError, match='run'), run_folder.locked(tmp_path / 'run'):
    pass


def test_looking_whether_it_is_locked(tmp_path, monkeypatch):
  assert run_folder.is_locked(tmp_path) is False
  with _hold(tmp_path) as process:
    assert [run_folder.is_locked(tmp_path) for _ in range(2)] == [True, True]
    process.kill()
    process.communicate()
  assert run_folder.is_locked(tmp_path) is False
  monkeypatch.setattr(fcntl, 'flock', lambda *_: (_ for _ in ()).throw(
    OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))))
  assert run_folder.is_locked(tmp_path) is None


def test_look_does_not_keep_a_job_from_starting(tmp_path, monkeypatch):
  with run_folder.locked(tmp_path):
    pass
  with open(tmp_path / '.lock', 'rb') as look:
    fcntl.flock(look, fcntl.LOCK_SH)
    monkeypatch.setattr(run_folder.time, 'sleep', lambda _: fcntl.flock(look, fcntl.LOCK_UN))
    with run_folder.locked(tmp_path):
      assert run_folder.is_locked(tmp_path)
