"""Distillation: the loss against Keras', and what a teacher sees."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from preprocessing.preprocessing_factory import PREPROCESSING
from slim_zoo.training import distillation, teachers

_LENET = ['--dataset_name=digits', '--model_name=lenet', '--batch_size=8',
          '--learning_rate_decay_type=cosine', '--optimizer=adamw', '--learning_rate=0.001']


@pytest.mark.parametrize(('weight', 'temperature'), [(0.0, 2.0), (0.3, 1.0), (1.0, 4.0)])
def test_loss_equals_keras(weight, temperature):
  rng = np.random.default_rng(0)
  loss = rng.random(6).astype(np.float32)
  logits, taught = (rng.normal(size=[6, 5]).astype(np.float32) * 3 for _ in range(2))
  distill = distillation.Distillation(lambda images: images, weight, temperature)
  theirs, ours = (keras.activations.softmax(tf.constant(values / temperature))
                  for values in (taught, logits))
  expected = (1 - weight) * loss + weight * temperature ** 2 * keras.losses.kl_divergence(
    theirs, ours)
  np.testing.assert_allclose(distill(tf.constant(loss), tf.constant(logits), tf.constant(taught)),
                             expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('student', ['inception', 'vgg', 'resnet_keras', 'torchvision'])
@pytest.mark.parametrize('teacher', ['inception', 'vgg', 'resnet_keras', 'torchvision'])
@pytest.mark.parametrize('channels', [1, 3])
def test_teacher_gets_its_own_normalization(student, teacher, channels):
  pixels = tf.constant(np.random.default_rng(0).uniform(0, 255, [16, 16, channels]), tf.float32)
  student, teacher = (PREPROCESSING[name].transform for name in (student, teacher))
  seen = []

  def network(images, *, is_training):
    assert not is_training
    seen.append(images)
    return tf.constant([[1.0, 2.0, 3.0]]), {}

  found = teachers.Teacher(network, [2, 0], 16, teacher, student)(
    student.normalize(pixels)[tf.newaxis])
  np.testing.assert_allclose(seen[0][0], teacher.normalize(pixels), atol=1e-3)
  np.testing.assert_array_equal(found, [[3, 1]])  # In the order of the student's outputs.
  teachers.Teacher(network, [0], 8, teacher, student)(student.normalize(pixels)[tf.newaxis])
  assert seen[1].shape == [1, 8, 8, channels]


@pytest.fixture(scope='module')
def teacher(run_here, tmp_path_factory):
  folder = tmp_path_factory.mktemp('teacher')
  code, _, errors = run_here('train_image_classifier', f'--train_dir={folder}', *_LENET,
                             '--max_number_of_steps=20')
  assert code == 0, errors
  return folder


def test_teacher_changes_the_run_and_is_not_saved(run_here, teacher, tmp_path):
  common = [*_LENET, '--max_number_of_steps=5', '--seed=1']
  results, saved = {}, {}
  for name, more in {'plain': [], 'taught': [f'--teacher_path={teacher}',
                                             '--distillation_weight=1']}.items():
    code, _, errors = run_here('train_image_classifier', f'--train_dir={tmp_path / name}',
                                 *common, *more)
    assert code == 0, errors
    reader = tf.train.load_checkpoint(str(tmp_path / name))
    results[name] = reader.get_tensor('LeNet/fc4/weights')
    saved[name] = set(reader.get_variable_to_shape_map())
  assert saved['plain'] == saved['taught']  # The teacher is not saved.
  assert not np.array_equal(results['plain'], results['taught'])


@pytest.mark.parametrize(('more', 'flag'), [
  (['--distillation_weight=0.3'], '--teacher_path'),
  (['--teacher_path={teacher}', '--use_grayscale', '--dataset_name=folder',
    '--dataset_dir={photos}'], '--teacher_path')])
def test_teachers_that_do_not_fit(run_here, teacher, tmp_path, more, flag):
  for name in ('a', 'b'):
    (tmp_path / 'photos' / name).mkdir(parents=True)
    for i in range(4):
      keras.utils.save_img(tmp_path / 'photos' / name / f'{i}.png', np.full([8, 8, 3], 30 * i))
  more = [flag_.format(teacher=teacher, photos=tmp_path / 'photos') for flag_ in more]
  code, _, errors = run_here('train_image_classifier', f'--train_dir={tmp_path / "run"}', *_LENET,
                             '--epochs=1', *more)
  assert code == 1 and flag in errors
