"""Transforms, checked against Pillow, and their overrides and JSON."""

import dataclasses
import io
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from preprocessing import transform as transform_lib
from preprocessing.preprocessing_factory import PREPROCESSING, get_preprocessing
from preprocessing.transform import Transform

FILTERS = {'bilinear': Image.Resampling.BILINEAR, 'bicubic': Image.Resampling.BICUBIC}
PLAIN = Transform(crop_fraction=0.875)


def resized(image, size, interpolation):
  """Resizes in two steps, because Pillow's versions differ in which direction they take first."""
  height, width = size
  narrow = Image.fromarray(image).resize((width, image.shape[0]), FILTERS[interpolation])
  return np.asarray(narrow.resize((width, height), FILTERS[interpolation])).astype(float)


def assert_near(result, expected):
  """Pillow's weights are integers, which moves a few values by one step of 255."""
  difference = np.abs(np.asarray(result) - expected)
  assert difference.max() < 1.01
  assert difference.mean() < 0.05


@pytest.mark.parametrize('interpolation', FILTERS)
@pytest.mark.parametrize('fraction, side', [(224 / 232, 232), (0.875, 256), (224 / 235, 235),
                                            (1, 224)])
def test_shorter_side(photo, interpolation, fraction, side):
  transform = Transform(crop_fraction=fraction, interpolation=interpolation)
  width = int(side * 250 / 180)
  x = round((width - 224) / 2)
  y = round((side - 224) / 2)
  expected = resized(photo, (side, width), interpolation)[y:y + 224, x:x + 224]
  assert_near(transform(tf.constant(photo), 224, 224), expected)


@pytest.mark.parametrize(('name', 'same'), [
  ('bilinear', True), ('bicubic', True), ('bilinear_no_antialias', True), ('bilinear_tf1', False)])
@pytest.mark.parametrize('crops_first', [False, True])
def test_jpegs_are_decoded_as_by_the_library(photo, encode, name, same, crops_first):
  encoded = encode(photo, 'JPEG', quality=50, subsampling=0)
  pixels = np.asarray(Image.open(io.BytesIO(encoded)))
  transform = dataclasses.replace(PLAIN, interpolation=name, crops_first=crops_first)
  of_file, of_pixels = (transform(tf.constant(image), 64, 64) for image in (encoded, pixels))
  assert bool(tf.reduce_all(of_file == of_pixels)) == same


@pytest.mark.parametrize('interpolation', FILTERS)
def test_squeeze(photo, interpolation):
  transform = Transform(resize_mode='squeeze', crop_fraction=1.0, interpolation=interpolation)
  assert_near(transform(tf.constant(photo), 96, 80), resized(photo, (96, 80), interpolation))


@pytest.mark.parametrize('shape, fitted', [((180, 250), (69, 96)), ((180, 40), (96, 21)),
                                           ((50, 50), (96, 96)), ((3, 250), (1, 96))])
@pytest.mark.parametrize('mean', [(120.0, 110.0, 100.0), None])
def test_letterbox_keeps_the_whole_image(photo, shape, fitted, mean):
  image = photo[:shape[0], :shape[1]]
  transform = Transform(resize_mode='letterbox', mean=mean, scale=mean and (50.0, 55.0, 60.0))
  expected = np.tile(np.array(mean or [127.5] * 3), [96, 96, 1])
  y, x = ((96 - size) // 2 for size in fitted)
  expected[y:y + fitted[0], x:x + fitted[1]] = resized(image, fitted, 'bilinear')
  assert_near(transform.pixels(tf.constant(image), 96, 96), expected)
  result = transform(tf.constant(image), 96, 96).numpy()
  if mean:
    outside = np.ones([96, 96], bool)
    outside[y:y + fitted[0], x:x + fitted[1]] = False
    assert not result[outside].any()
  else:
    assert abs(result.mean()) < 1e-4 and abs(result.std() - 1) < 1e-4


@pytest.mark.parametrize('name', ['caffe', 'efficientnet_lite', 'torchvision', 'vgg'])
def test_training_does_not_crop_a_letterboxed_image(name, photo):
  transform = PREPROCESSING[name].transform.override(resize_mode='letterbox')
  preprocess = get_preprocessing(name, True, transform=transform)
  whole = transform(tf.constant(photo), 48, 48).numpy()
  seen = [preprocess(tf.constant(photo), 48, 48, seed=tf.constant([seed, 1])).numpy()
          for seed in range(8)]
  assert {view.tobytes() for view in seen} == {whole.tobytes(), whole[:, ::-1].tobytes()}


def test_training_normalizes_as_the_transform_says(photo):
  transform = dataclasses.replace(PLAIN, channel_order='bgr', mean=(10.0, 20.0, 30.0))
  seed = tf.constant([3, 4])
  plain = get_preprocessing('vgg', True, transform=PLAIN)(tf.constant(photo), 64, 64, seed=seed)
  result = get_preprocessing('vgg', True, transform=transform)(tf.constant(photo), 64, 64,
                                                               seed=seed)
  np.testing.assert_allclose(result, plain.numpy()[..., ::-1] - [30, 20, 10], atol=1e-4)


@pytest.mark.parametrize('name', transform_lib.resizing.INTERPOLATIONS)
@pytest.mark.parametrize('mode', ['shorter_side', 'squeeze', 'letterbox'])
@pytest.mark.parametrize('crops_first', [False, True])
def test_every_combination_keeps_the_range(photo, name, mode, crops_first):
  transform = dataclasses.replace(PLAIN, crops_first=crops_first, interpolation=name).override(
      resize_mode=mode)
  for image in (photo, photo[:1, :1], photo[:2, :200], np.tile(np.uint8([[[0]], [[255]]]),
                                                              [40, 80, 3])):
    result = transform(tf.constant(image), 32, 48).numpy()
    assert result.shape == (32, 48, 3)
    assert result.min() >= 0 and result.max() <= 255.001


@pytest.mark.parametrize('old, changes, expected', [
  (PLAIN, {}, PLAIN),
  (PLAIN, {'interpolation': 'bicubic'}, Transform(crop_fraction=0.875, interpolation='bicubic')),
  (PLAIN, {'crop_fraction': 1.0}, Transform(crop_fraction=1.0)),
  (Transform(resized_side=256), {'crop_fraction': 0.9}, Transform(crop_fraction=0.9)),
  (Transform(resized_side=256), {'resize_mode': 'squeeze'},
   Transform(resize_mode='squeeze', resized_side=256)),
  (Transform(crop_padding=32), {'resize_mode': 'letterbox'}, Transform(resize_mode='letterbox')),
  (Transform(resize_mode='letterbox'), {'resize_mode': 'squeeze'},
   Transform(resize_mode='squeeze', crop_fraction=1.0)),
  (Transform(resize_mode='crop_or_pad'), {'resize_mode': 'shorter_side', 'crop_fraction': 0.5},
   Transform(crop_fraction=0.5))])
def test_override(old, changes, expected):
  assert old.override(**changes) == expected
  assert old.override(**changes).override(**changes) == expected


def test_override_refuses_a_crop_without_cropping():
  with pytest.raises(ValueError, match='--crop_fraction.*letterbox'):
    PLAIN.override(resize_mode='letterbox', crop_fraction=0.9)


@pytest.mark.parametrize('name', PREPROCESSING)
def test_json(name):
  transform = PREPROCESSING[name].transform
  assert transform_lib.from_json(json.loads(json.dumps(transform.to_json()))) == transform


@pytest.mark.parametrize('value, named', [
  ([], 'transform'), ({'size': 3}, 'transform'), ({'resize_mode': 'stretch'}, 'resize_mode'),
  ({}, 'crop'), ({'crop_fraction': 0}, 'crop_fraction'), ({'crop_fraction': 1.5}, 'crop_fraction'),
  ({'crop_fraction': '1'}, 'crop_fraction'), ({'crop_fraction': float('nan')}, 'crop_fraction'),
  ({'crop_fraction': 0.9, 'resized_side': 256}, 'crop'),
  ({'resize_mode': 'letterbox', 'crop_fraction': 0.9}, 'crop'),
  ({'crop_fraction': 0.9, 'interpolation': 'nearest'}, 'interpolation'),
  ({'crop_fraction': 0.9, 'channel_order': 'gbr'}, 'channel_order'),
  ({'crop_fraction': 0.9, 'mean': None}, 'mean'), ({'crop_fraction': 0.9, 'mean': [1, 2]}, 'mean'),
  ({'crop_fraction': 0.9, 'mean': 'abc'}, 'mean'), ({'crop_fraction': 0.9, 'mean': 3}, 'mean'),
  ({'crop_fraction': 0.9, 'scale': [1, 1, 0]}, 'scale')])
def test_damaged_json(value, named):
  with pytest.raises(ValueError, match=named):
    transform_lib.from_json(value)


@pytest.mark.parametrize('transform, size, expected', [
  (PREPROCESSING['inception'].transform, 224, ('0.875 of each side', '224×224', 'RGB', '127.5')),
  (PREPROCESSING['vgg'].transform, 224, ('shorter side resized to 256', 'central 224×224 crop')),
  (PREPROCESSING['vgg'].transform, 448, ('shorter side resized to 512',)),
  (PREPROCESSING['efficientnet_lite'].transform, 260, ('0.8904 of the shorter side', '260×260')),
  (PREPROCESSING['resnet_keras'].transform, 224, ('shorter side resized to 256', 'BGR', '103.939')),
  (Transform(resize_mode='letterbox'), 64, ('64×64', 'mean colour')),
  (PREPROCESSING['cifarnet'].transform, 32, ('not resized', 'deviation'))])
def test_description(transform, size, expected):
  for text in expected:
    assert text in transform.describe(size)


def test_box_is_the_same_in_graphs_as_eagerly_and_as_in_efficientnets_own_code():
  """160 · 0.875 is exactly 140, where TensorFlow's rewritten division gave 139."""
  shape = tf.TensorSpec([2], tf.int32)
  graph = tf.function(lambda shape: tf.stack(transform_lib.fitting_box(
    tf.unstack(shape), (128, 128), (128 / 0.875,) * 2)), input_signature=[shape])
  for side in range(1, 600):
    expected = max(1, int(np.float32(side) * np.float32(0.875)))
    eager = transform_lib.fitting_box((tf.constant(side), tf.constant(700)), (128, 128),
                                      (128 / 0.875,) * 2)
    assert [int(part) for part in eager[2:]] == [expected] * 2, side
    assert graph(tf.constant([side, 700])).numpy().tolist() == [int(part) for part in eager], side


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('transform', [
  Transform(crop_fraction=1.0, mean=(10, 20, 30), scale=(2, 3, 4), channel_order=order)
  for order in ('rgb', 'bgr')])
def test_denormalizing_reverses_normalizing(photo, transform, channels):
  pixels = tf.cast(photo[:20, :30, :channels], tf.float32)
  if channels == 1:
    transform = dataclasses.replace(transform, channel_order='rgb')
  found = transform.denormalize(transform.normalize(pixels)[tf.newaxis])
  np.testing.assert_allclose(found[0], pixels, atol=1e-3)


def test_denormalizing_images_that_lost_their_mean(photo):
  transform = Transform(crop_fraction=1.0, mean=None, scale=None)
  pixels = tf.cast(photo[:20, :30], tf.float32)
  found = transform.denormalize(transform.normalize(pixels)[tf.newaxis])[0].numpy()
  low, high = pixels.numpy().min(), pixels.numpy().max()
  np.testing.assert_allclose(found, 255 * (pixels - low) / (high - low), atol=1e-3)
  assert not transform.denormalize(tf.zeros([1, 2, 2, 3])).numpy().any()
