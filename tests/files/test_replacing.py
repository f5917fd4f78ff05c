from __future__ import annotations

import os

import pytest

from files.replacing import replacing


@pytest.mark.parametrize('before', [None, 'old'])
@pytest.mark.parametrize('fails', [False, True])
def test_a_file_is_replaced_at_the_end_or_not_at_all(tmp_path, before, fails):
  path = tmp_path / 'file.csv'
  if before is not None:
    path.write_text(before)
  error = None
  try:
    with replacing(path) as aside:
      aside.write_text('new')
      assert (path.read_text() if path.exists() else None) == before
      assert not list(tmp_path.glob('file*.part'))  # Other programs look for such names.
      if fails:
        raise ValueError
  except ValueError as caught:
    error = caught
  assert (error is not None) == fails
  assert (path.read_text() if path.exists() else None) == (before if fails else 'new')
  assert os.listdir(tmp_path) == (['file.csv'] if path.exists() else [])


def test_a_file_that_was_not_written_is_an_error(tmp_path):
  with pytest.raises(FileNotFoundError), replacing(tmp_path / 'x'):
    pass
