"""Pictures of a run: training images, predictions, and the confusion matrix."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from datasets import dataset_factory
from preprocessing import preprocessing_factory
from slim_zoo.evaluation.outcomes import LabelOutcomes, Outcomes
from slim_zoo.report import run_pictures
from slim_zoo.training.inputs import Inputs
from slim_zoo.training.mixing import NO_MIXING, Mixing
from slim_zoo.training.pictures import Pictures

_CLASSES = ('ant', 'bee', 'owl')


@pytest.fixture(scope='module')
def inputs(tmp_path_factory):
  """21 images of three classes, each of one colour, one of them broken."""
  folder = tmp_path_factory.mktemp('photos')
  for number in range(21):
    path = folder / _CLASSES[number % 3] / f'{number:02d}.png'
    pixels = np.full([20, 24, 3], 10 * number, np.uint8)
    tf.io.write_file(str(path), b'broken' if number == 3 else tf.io.encode_png(pixels))
  dataset = dataset_factory.get_dataset('folder', 'all', folder)
  bad = [name for name in dataset.examples.names if name.endswith('03.png')]
  return Inputs(dataset, [0, 1, 2], tuple(bad), preprocessing_name='inception',
                transform=preprocessing_factory.get_recipe('inception').transform, image_size=16,
                channels=3, num_outputs=3)


def _pictures(inputs, mixing=NO_MIXING) -> Pictures:
  return Pictures(inputs, inputs, _CLASSES, mixing, seed=4)


@pytest.mark.parametrize('epoch', [0, 2])
def test_training_images_are_those_of_the_epoch(inputs, epoch):
  pixels, targets = _pictures(inputs)._training_images(7, epoch)
  batches = iter(inputs.training_batches(batch_size=1, seed=4, start_step=0))
  first = -(-epoch * 21 // 16) * 16  # The first whole batch of 16 of the epoch.
  found = [next(batches) for _ in range(first + 16)][first:]
  found = [batch for batch in found if batch['weight'][0]]
  np.testing.assert_array_equal(targets.argmax(1), [int(batch['label'][0]) for batch in found])
  np.testing.assert_array_equal(pixels, [
    np.clip(np.rint((batch['image'][0] + 1) * 127.5), 0, 255) for batch in found])


def test_shares_of_mixed_images_are_named(inputs):
  pictures = _pictures(inputs, Mixing(mixup_alpha=1.0))
  _, targets = pictures._training_images(7, 0)
  plain, _ = _pictures(inputs)._training_images(7, 0)
  mixed, _ = pictures._training_images(7, 0)
  assert (mixed != plain).any()
  number = next(n for n, row in enumerate(targets) if (row > 0).sum() == 2)
  lines = pictures._shares(targets[number]).splitlines()
  assert sorted(line.split()[0] for line in lines) == [
    name for name, share in zip(_CLASSES, targets[number], strict=True) if share]
  assert sum(float(line.split()[1]) for line in lines) == pytest.approx(1, abs=0.011)


def _outcomes(labels, predicted) -> Outcomes:
  count = len(labels)
  labels, predicted = np.array(labels), np.array(predicted)
  return Outcomes(labels, np.zeros(count), (labels != predicted).astype(int), np.ones(count),
                  predicted[:, np.newaxis], np.full([count, 1], 0.75), 3)


def test_predictions_belong_to_their_images(inputs, monkeypatch):
  """The outcomes leave out the broken image."""
  drawn = []
  monkeypatch.setattr(run_pictures, 'draw_images',
                      lambda images: drawn.append(images) or np.zeros([1, 1, 3], np.uint8))
  names = [name for name in inputs.dataset.examples.names if name not in inputs.bad_images]
  numbers = [int(name.rpartition('/')[2][:2]) for name in names]
  labels = [number % 3 for number in numbers]
  predicted = [label if number % 2 else 2 for label, number in zip(labels, numbers, strict=True)]
  tags = [tag for tag, _ in _pictures(inputs).draw(7, 0, _outcomes(labels, predicted))]
  assert tags == ['train/images', 'validation/predictions', 'validation/confusion_matrix']
  seen = drawn[1]
  assert len(seen) == 16
  for image in seen:
    number = int(image.pixels[0, 0, 0]) // 10
    right = number % 2 or number % 3 == 2
    label = _CLASSES[number % 3]
    assert image.is_right == bool(right)
    assert image.caption == (f'{label} 0.75' if right else f'{label}\n→ owl 0.75')
  assert len({image.caption.split()[0] for image in seen}) == 3


def test_captions_of_several_labels(inputs):
  outcomes = LabelOutcomes(np.zeros(3), np.array([[0.9, 0.8, 0.1], [0.2, 0.1, 0.1], [0.1] * 3]),
                           np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0]], bool))
  pictures = _pictures(inputs)
  assert [pictures._caption(outcomes, number) for number in range(3)] == [
    ('ant, bee', True), ('bee\n→ none', False), ('none', True)]
  outcomes = LabelOutcomes(np.zeros(20), np.full([20, 3], 0.4), np.zeros([20, 3], bool))
  tags = [tag for tag, _ in pictures.draw(7, 0, outcomes)]
  assert tags == ['train/images', 'validation/predictions']


def test_pictures_are_drawn(inputs):
  rng = np.random.default_rng(0)
  for count in (1, 5, 16):
    images = [run_pictures.Captioned(rng.integers(0, 256, [30, 40, 3], np.uint8), 'a $b$\n<c>',
                                     is_right) for is_right in [None, True, False] * 6][:count]
    drawn = run_pictures.draw_images(images)
    assert drawn.dtype == np.uint8 and drawn.shape[2] == 3 and min(drawn.shape[:2]) > 100
    assert len(np.unique(drawn)) > 50
  outcomes = _outcomes(rng.integers(0, 3, 50), rng.integers(0, 3, 50))
  [*_, (_, matrix)] = _pictures(inputs).draw(7, 0, outcomes)
  assert matrix.shape[0] == matrix.shape[1] > 200


def test_grey_images(inputs):
  """Of these grey images, each channel equals the luma, but for rounding."""
  colours, _ = _pictures(dataclasses.replace(inputs, num_views=0))._training_images(0, 0)
  pixels, _ = _pictures(dataclasses.replace(inputs, channels=1, num_views=0))._training_images(0, 0)
  assert pixels.shape == colours.shape
  np.testing.assert_allclose(pixels.astype(int), colours.astype(int), atol=1)


def test_without_images_there_is_no_picture(inputs):
  bad = dataclasses.replace(inputs, bad_images=inputs.dataset.examples.names)
  outcomes = _outcomes([0], [1])
  assert [tag for tag, _ in _pictures(bad).draw(7, 0, outcomes)] == ['validation/confusion_matrix']


def test_records_are_not_shuffled(inputs, tmp_path):
  """Their order needs a buffer of many; the first ones are shown, augmented anew."""
  with tf.io.TFRecordWriter(str(tmp_path / 'photos_train_00000-of-00001.tfrecord')) as writer:
    for number in range(20):
      pixels = np.random.default_rng(number).integers(0, 256, [20, 24, 3], np.uint8)
      writer.write(tf.train.Example(features=tf.train.Features(feature={
        'image/encoded': tf.train.Feature(bytes_list=tf.train.BytesList(
          value=[tf.io.encode_png(pixels).numpy()])),
        'image/class/label': tf.train.Feature(int64_list=tf.train.Int64List(
          value=[number % 3]))})).SerializeToString())
  dataset = dataset_factory.get_dataset('tfrecord', 'train', tmp_path, validation_fraction=0)
  records = dataclasses.replace(inputs, dataset=dataset, bad_images=())
  first, targets = _pictures(records)._training_images(0, 0)
  assert targets.argmax(1).tolist() == [number % 3 for number in range(16)]
  again, _ = _pictures(records)._training_images(0, 0)
  later, _ = _pictures(records)._training_images(0, 1)
  np.testing.assert_array_equal(first, again)
  assert (first != later).any()


def test_captions_of_many_classes_are_cut(inputs):
  pictures = dataclasses.replace(_pictures(inputs), class_names=list('abcdefgh'))
  assert pictures._shares(np.ones(3)) == 'a\nb\nc'
  assert pictures._shares(np.ones(8)) == 'a\nb\n…'
