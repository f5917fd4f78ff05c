"""The example that prepares photos for exports."""

from __future__ import annotations

import io
import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from preprocessing import preprocessing_factory, resizing, transform

_ROOT = Path(__file__).resolve().parents[2]


def _transforms() -> list[transform.Transform]:
  rules = ({'crop_fraction': .875}, {'resized_side': 256}, {'resized_side': 40},
           {'crop_padding': 7})
  cropped = [transform.Transform(resize_mode=mode, crops_first=first, interpolation=name, **rule)
             for mode, first, name, rule in itertools.product(
               ('shorter_side', 'squeeze'), (False, True), resizing.INTERPOLATIONS, rules)]
  colours = {'mean': (103.939, 116.779, 123.68), 'scale': (58.4, 57.1, 57.4)}
  others = [transform.Transform(resize_mode='letterbox', interpolation=name, **colours)
            for name in resizing.INTERPOLATIONS]
  others += [transform.Transform(resize_mode='crop_or_pad', mean=None, scale=None),
             transform.Transform(crop_fraction=1, channel_order='bgr', **colours)]
  known = [recipe.transform for recipe in preprocessing_factory.PREPROCESSING.values()]
  return list(dict.fromkeys([*cropped, *others, *known]))


def _photo(height: int, width: int) -> np.ndarray:
  rng = np.random.default_rng(height)
  coarse = tf.image.resize(rng.uniform(0, 255, [height // 7, width // 7, 3]), [height, width])
  return np.clip(coarse + rng.normal(0, 9, [height, width, 3]), 0, 255).astype(np.uint8)


@pytest.fixture(scope='session')
def prepare(program):
  return program('prepare_image').prepare


@pytest.fixture(scope='module')
def photos(tmp_path_factory) -> list[str]:
  folder = tmp_path_factory.mktemp('photos')
  paths = []
  for height, width, orientation in ((61, 97, 1), (83, 50, 6), (90, 91, 3)):
    exif = PIL.Image.Exif()
    exif[0x112] = orientation
    paths.append(str(folder / f'{orientation}.jpg'))
    PIL.Image.fromarray(_photo(height, width)).save(paths[-1], quality=90, exif=exif)
  transparent = np.concatenate([_photo(60, 70), _photo(60, 70)[..., :1]], -1)
  paths.append(str(folder / 'transparent.png'))
  PIL.Image.fromarray(transparent).save(paths[-1])
  return paths


@pytest.mark.parametrize('how', _transforms(), ids=lambda how: how.describe(32))
def test_pixels_are_those_of_an_evaluation(photos, prepare, how):
  kept = json.loads(json.dumps(how.to_json()))
  for path, (size, channels) in zip(photos, ((32, 3), (27, 3), (32, 1), (27, 1)), strict=True):
    about = {'transform': kept, 'image_size': size, 'channels': channels, 'inputs': {}}
    expected = how(tf.io.read_file(path), size, size, channels=channels)
    # Graphs divide by constants in another way.
    np.testing.assert_allclose(prepare(path, about), expected, rtol=1e-6, atol=1e-4, err_msg=path)


@pytest.mark.parametrize('orientation', range(1, 9))
def test_orientations(tmp_path, prepare, orientation):
  exif = PIL.Image.Exif()
  exif[0x112] = orientation
  path = tmp_path / 'photo.jpg'
  PIL.Image.fromarray(_photo(40, 60)).save(path, exif=exif)
  how = transform.Transform(crop_fraction=1.0)
  about = json.loads(json.dumps(
    {'transform': how.to_json(), 'image_size': 32, 'channels': 3, 'inputs': {}}))
  np.testing.assert_array_equal(prepare(str(path), about),
                                how(tf.io.read_file(str(path)), 32, 32))


def test_integers(photos, prepare):
  how = transform.Transform(crop_fraction=1.0, mean=(100,) * 3, scale=(50,) * 3)
  about = {'transform': how.to_json(), 'image_size': 32, 'channels': 3, 'inputs': {
    'images': {'dtype': 'int8', 'scale': 0.02, 'zero_point': -9}}}
  about = json.loads(json.dumps(about))
  found = prepare(photos[0], about)
  expected = how(tf.io.read_file(photos[0]), 32, 32)
  assert found.dtype == np.int8 and found.max() == 127  # More than 2.72 does not fit.
  restored = (found.astype(np.float32) + 9) * 0.02
  np.testing.assert_allclose(restored, np.clip(expected, -2.38, 2.72), atol=0.0101)


def test_program(tmp_path):
  how = transform.Transform(crop_fraction=1.0)
  (tmp_path / 'model.json').write_text(json.dumps(
    {'transform': how.to_json(), 'image_size': 32, 'channels': 3, 'inputs': {}}))
  (tmp_path / 'photo.png').write_bytes(_png(_photo(40, 60)))
  # A copy, to show that it needs nothing of the project.
  copy = tmp_path / 'mine.py'
  copy.write_text((_ROOT / 'scripts' / 'prepare_image.py').read_text())
  subprocess.run([sys.executable, copy, 'model.json', 'photo.png', 'photo.npy'], check=True,
                 cwd=tmp_path, capture_output=True)
  prepared = np.load(tmp_path / 'photo.npy')
  assert prepared.shape == (1, 32, 32, 3) and prepared.dtype == np.float32


def _png(pixels: np.ndarray) -> bytes:
  file = io.BytesIO()
  PIL.Image.fromarray(pixels).save(file, 'PNG')
  return file.getvalue()
