"""The images of the experiment with 100 images per class, from a small CIFAR-10."""

from __future__ import annotations

import importlib.util
import pathlib
import re
import types

import numpy as np
import PIL.Image
import pytest

from datasets import dataset_factory
from datasets.converters import cifar10

_PATH = pathlib.Path(__file__).parents[2] / 'scripts' / 'experiments' / 'cifar10_subset.py'
_NAMES = [*(f'data_batch_{i}.bin' for i in range(1, 6)), 'test_batch.bin']


@pytest.fixture
def flags(tmp_path):
  return types.SimpleNamespace(dataset_dir=str(tmp_path / 'records'), images_per_class=2,
                               test_images_per_class=None,
                               output_dir=str(tmp_path / 'subset'))


@pytest.fixture
def main(flags, monkeypatch):
  spec = importlib.util.spec_from_file_location('cifar10_subset', _PATH)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  monkeypatch.setattr(module, 'FLAGS', flags)
  return module.main


@pytest.fixture
def pixels(tmp_path):
  """Writes a CIFAR-10 with 12 images per file, in turn from ten classes; returns its pixels."""
  rng, found = np.random.default_rng(0), []
  below = tmp_path / 'package' / 'cifar-10-batches-bin'
  below.mkdir(parents=True)
  for number, name in enumerate(_NAMES):
    rows = rng.integers(0, 256, [12, 3073], np.uint8)
    rows[:, 0] = np.arange(12 * number, 12 * number + 12) % 10
    rows.tofile(below / name)
    found.append(rows[:, 1:].reshape(12, 3, 32, 32).transpose(0, 2, 3, 1))
  cifar10.convert(tmp_path / 'package', tmp_path / 'records')
  return np.concatenate(found)


def test_first_images_of_each_class_are_written(main, flags, pixels, capsys):
  assert main() == 0
  root = pathlib.Path(flags.output_dir)
  assert re.search(r'\b20 .*\b12 ', capsys.readouterr().out)
  for split, first, count in (('train', 0, 20), ('validation', 60, 12)):
    found = dataset_factory.get_dataset('folder', split, root)
    assert found.num_examples == count
    for name, label, path in zip(found.examples.names, found.labels, found.examples.files,
                                 strict=True):
      number = int(pathlib.Path(name).stem)
      assert (first + number) % 10 == label and (number < 20 or split == 'validation')
      np.testing.assert_array_equal(np.asarray(PIL.Image.open(path)), pixels[first + number])


def test_mistakes_write_nothing(main, flags, pixels):
  flags.images_per_class = 7
  with pytest.raises(ValueError, match=r"7 .*airplane.*'train'.* 6"):
    main()
  assert not pathlib.Path(flags.output_dir).exists()
  flags.images_per_class = 6
  main()
  with pytest.raises(ValueError, match='--output_dir='):
    main()
  flags.output_dir = None
  with pytest.raises(ValueError, match='--dataset_dir.*--output_dir'):
    main()
