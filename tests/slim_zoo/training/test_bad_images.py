"""Images that cannot be decoded stop a program or are skipped."""

from __future__ import annotations

import types

import numpy as np
import pytest

from slim_zoo.training import bad_images


def test_bad_images(capsys):
  def settle(*names, choice='skip', known=None):
    images = [types.SimpleNamespace(name=name, reason='it is cut short') for name in names]
    split = types.SimpleNamespace(
        split_name='train', find_bad_images=lambda decode, workers: images, num_classes=1,
        labels=np.zeros(3, int), class_names=['a'], class_counts=np.array([3]),
        count_classes=lambda labels: np.array([len(labels)]),
        examples=types.SimpleNamespace(names=['a/a.jpg', 'a/b.jpg', 'a/c.jpg']))
    return bad_images.settle(split, None, choice, known=known)

  assert settle(choice='error') == ()
  with pytest.raises(ValueError, match=r'a/b.jpg(.*\n)*.*--on_bad_image=skip'):
    settle('a/b.jpg', choice='error')
  # Decided earlier.
  assert settle('a/b.jpg', choice='error', known={'train': ['c.jpg']}) == ('c.jpg',)
  assert settle() == ()
  assert not capsys.readouterr().out
  assert settle('a/b.jpg', known={'validation': ['c.jpg']}) == ('a/b.jpg',)
  assert 'a/b.jpg' in capsys.readouterr().out
