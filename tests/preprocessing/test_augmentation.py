"""Augmentation of training images, checked against Pillow."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from preprocessing import augmentation, image_ops, preprocessing_factory, torchvision
from preprocessing.augmentation import Augmentation
from preprocessing.preprocessing_factory import PREPROCESSING, get_preprocessing

SIZE = 32


def train(image, name, seed, **options):
  function = get_preprocessing(name, True, augmentation=Augmentation(**options))
  return function(tf.constant(image), SIZE, SIZE, seed=tf.constant([seed, 5])).numpy()


def test_crop_equals_pillow(photo):
  transform = dataclasses.replace(torchvision.TRANSFORM, mean=(0., 0., 0.), scale=(1., 1., 1.))
  crop = Augmentation(min_crop_area=0.5)
  for i in range(5):
    seed = tf.constant([i, 3])
    box = torchvision.random_box(*photo.shape[:2], image_ops.decision_seed(seed, 100),
                                 least_area=0.5)
    y, x, height, width = map(int, box)
    assert height * width >= 0.49 * photo.shape[0] * photo.shape[1]
    expected = Image.fromarray(photo[y:y + height, x:x + width]).resize((SIZE, SIZE), 2)
    found = crop.random_crop(tf.constant(photo), SIZE, SIZE, channels=3, seed=seed,
                             transform=transform)
    assert np.abs(found - np.asarray(expected, np.float32)).max() <= 2  # Ties.


def test_share_of_the_area():
  def shares(least):
    boxes = [torchvision.random_box(tf.constant(300), tf.constant(400), tf.constant([7, i]),
                                    least_area=least) for i in range(200)]
    return np.array([int(height) * int(width) for _, _, height, width in boxes]) / 120_000

  assert 0.64 < shares(0.65).min() < 0.7
  np.testing.assert_array_equal(shares(0.08), shares(torchvision._LEAST_AREA))


@pytest.mark.parametrize('name', PREPROCESSING)
def test_every_recipe_takes_the_crop(photo, name):
  results = [train(photo, name, seed, min_crop_area=0.3) for seed in range(3)]
  assert {result.shape for result in results} == {(SIZE, SIZE, 3)}
  np.testing.assert_array_equal(results[0], train(photo, name, 0, min_crop_area=0.3))
  assert len({result.tobytes() for result in results}) == 3
  evaluation = get_preprocessing(name, augmentation=Augmentation(min_crop_area=0.3))
  np.testing.assert_array_equal(evaluation(tf.constant(photo), SIZE, SIZE),
                                get_preprocessing(name)(tf.constant(photo), SIZE, SIZE))


def test_letterboxed_images_are_not_cropped(photo):
  transform = dataclasses.replace(PREPROCESSING['torchvision'].transform, resize_mode='letterbox',
                                  crop_fraction=None)
  train_one = get_preprocessing('torchvision', True, transform=transform,
                                augmentation=Augmentation(min_crop_area=0.3))
  expected = transform(tf.constant(photo), SIZE, SIZE).numpy()
  found = train_one(tf.constant(photo), SIZE, SIZE, seed=tf.constant([1, 2])).numpy()
  assert any(np.array_equal(found, one) for one in (expected, expected[:, ::-1]))


def test_nothing_is_random_by_default():
  assert not augmentation.NONE.is_random
  assert not preprocessing_factory.is_random('lenet', augmentation.NONE)
  assert preprocessing_factory.is_random('lenet', Augmentation(min_crop_area=1.0))
  assert preprocessing_factory.is_random('vgg', augmentation.NONE)


def _with(image, name, seed=1, **options):
  """A training image of the whole photo, without normalization."""
  transform = dataclasses.replace(PREPROCESSING[name].transform, mean=(0., 0., 0.),
                                  scale=(1., 1., 1.), channel_order='rgb')
  function = get_preprocessing(name, True, transform=transform,
                               augmentation=Augmentation(min_crop_area=1.0, **options))
  return function(tf.constant(image), SIZE, SIZE, seed=tf.constant([seed, 5])).numpy()


@pytest.mark.parametrize('name', PREPROCESSING)
def test_jitter_and_policies_replace_the_colors_of_the_recipe(photo, name):
  plain = _with(photo, name, color_jitter=0.0)
  if PREPROCESSING[name].recolor is None:
    np.testing.assert_array_equal(plain, np.rint(np.clip(_with(photo, name), 0, 255)))
  else:
    assert np.abs(plain - _with(photo, name)).mean() > 1
  for options in ({'color_jitter': 0.5}, {'augmentation_policy': 'trivial_augment'}):
    changed = [_with(photo, name, seed, **options) for seed in range(4)]
    assert any(np.abs(one - _with(photo, name, seed, color_jitter=0.0)).mean() > 1
               for seed, one in enumerate(changed))


def test_vertical_flip(photo):
  results = {_with(photo, 'vgg', seed, vertical_flip=True).tobytes(): seed for seed in range(12)}
  assert len(results) == 4  # Both flips are independent.
  for seed in results.values():
    before = _with(photo, 'vgg', seed)
    after = _with(photo, 'vgg', seed, vertical_flip=True)
    assert any(np.array_equal(after, one) for one in (before, before[::-1]))


def test_erased_rectangle_is_zero_after_normalization(photo):
  found = train(photo, 'torchvision', 2, min_crop_area=1.0, erasing_probability=1.0)
  before = train(photo, 'torchvision', 2, min_crop_area=1.0)
  is_erased = (found != before).any(-1)
  assert is_erased.any() and (found[is_erased] == 0).all()


@pytest.mark.parametrize('policy', augmentation.POLICIES)
def test_policies_are_functions_of_the_seed(photo, policy):
  results = [_with(photo, 'vgg', seed, augmentation_policy=policy) for seed in (0, 1, 2, 3, 0)]
  np.testing.assert_array_equal(results[0], results[4])
  assert len({result.tobytes() for result in results}) > 2


def test_settings_of_rand_augment(photo):
  def results(**options):
    return [_with(photo, 'vgg', seed, augmentation_policy='rand_augment', **options)
            for seed in range(6)]

  plain = results()
  assert not np.array_equal(plain, results(rand_augment_operations=4))
  assert not np.array_equal(plain, results(rand_augment_magnitude=30))
  np.testing.assert_array_equal(plain, results(rand_augment_operations=2,
                                               rand_augment_magnitude=9))


@pytest.mark.parametrize(('options', 'expected'), [
  ({}, False), ({'rand_augment_magnitude': 3}, False), ({'vertical_flip': True}, True),
  ({'color_jitter': 0.1}, True), ({'augmentation_policy': 'rand_augment'}, True),
  ({'erasing_probability': 0.1}, True), ({'min_crop_area': 0.5}, True)])
def test_is_random(options, expected):
  assert Augmentation(**options).is_random == expected
