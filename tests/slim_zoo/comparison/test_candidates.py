"""Opening the weights of --checkpoint_paths, and what is said about those that cannot be used."""

from __future__ import annotations

import dataclasses
import types

import numpy as np
import pytest
import tensorflow as tf

from datasets import dataset_factory
from nets import outline
from slim_zoo.comparison import candidates
from slim_zoo.config.flag_values import Parsed
from slim_zoo.config.programs import Compare
from slim_zoo.training import checkpoints
from slim_zoo.weights import formats, published


def _open(photos, paths, **flags):
  parsed = Parsed(Compare()).with_given(dataset_dir=str(photos), checkpoint_paths=paths, **flags)
  dataset = dataset_factory.get_dataset('folder', 'train', photos)
  return candidates.open_all(parsed, dataset)


def test_candidates_are_sorted_by_their_arithmetic(photos, lenet, cifarnet):
  found = _open(photos, f'cifarnet={cifarnet}, {lenet},{lenet}@56')
  assert [(one.model_name, one.source.image_size) for one in found] == [
    ('lenet', 28), ('cifarnet', 32), ('lenet', 56)]
  assert [one.multiply_adds for one in found] == sorted(one.multiply_adds for one in found)
  assert [one.weights_name for one in found] == [lenet, cifarnet, f'{lenet}@56']
  of_lenet = found[0]
  traced = outline.trace('lenet', 3, image_shape=[28, 28, 3])
  assert of_lenet.parameters == sum(np.prod(shape) for shape in traced.trainable.values())
  assert (of_lenet.width, of_lenet.head, of_lenet.source.end_point) == (1024, 'fc', 'features')


def test_arithmetic_is_counted_up_to_the_features(photos, lenet):
  (found,) = _open(photos, lenet)
  # Two convolutions with 5 × 5 kernels and a dense layer.
  assert found.multiply_adds == 28 * 28 * 75 * 32 + 14 * 14 * 800 * 64 + 7 * 7 * 64 * 1024


@pytest.mark.slow
def test_weights_without_dense_layers_end_at_the_last_map(photos, save, capsys):
  prefix = save('alexnet_v2', size=224, without=['alexnet_v2/fc'])
  (found,) = _open(photos, prefix)
  assert (found.source.end_point, found.head, found.width) == ('alexnet_v2/pool5', 'pool,fc', 256)
  assert 'alexnet_v2/pool5' in capsys.readouterr().out


@pytest.mark.parametrize(('paths', 'named'), [
  ('{lenet},/gone.ckpt', ['/gone.ckpt', '1 of 2']),
  ('{lenet},{cifarnet},/gone.ckpt', ['2 of 3', 'cifarnet', 'NETWORK', '/gone.ckpt']),
  ('cifarnt={cifarnet}', ['cifarnt', 'Did you mean cifarnet']),
  ('mobilenet_v1_025={cifarnet}', ['mobilenet_v1_025', 'does not fit']),
  ('cifarnet={lenet}', ['cifarnet', 'lenet']),
  ('{lenet},{lenet}', ['several times']),
  ('{lenet},lenet={lenet}@28', ['the same twice', '@28']),
  ('{lenet}@0', ['image size']),
  ('zoo:mobilenet_v9', ['zoo:mobilenet_v9']),
  ('{photos}/dark/0.png', ['0.png']),
  (',', ['zoo:mobilenet_v1_1.0_224'])])
def test_unusable_weights_are_named(photos, lenet, cifarnet, paths, named):
  paths = paths.format(photos=photos, lenet=lenet, cifarnet=cifarnet)
  with pytest.raises(ValueError, match='--checkpoint_paths') as caught:
    _open(photos, paths)
  assert [text for text in named if text not in str(caught.value)] == []


def test_input_channels_must_fit(photos, lenet, tmp_path):
  parsed = Parsed(Compare()).with_given(dataset_name='digits', checkpoint_paths=lenet)
  dataset = dataset_factory.get_dataset('digits', 'train')
  with pytest.raises(ValueError, match='1 channel[^s].*--convert_input_channels'):
    candidates.open_all(parsed, dataset)
  (found,) = candidates.open_all(parsed.with_given(convert_input_channels=True), dataset)
  assert found.source.channels(dataset) == 1


def test_network_that_knows_the_images_is_rejected(photos, save):
  dataset = dataset_factory.get_dataset('folder', 'train', photos)
  prefix = save('lenet', size=28, metadata={
      'model_name': 'lenet', 'dataset': {
        'fingerprint': dataset.fingerprint, 'num_examples': dataset.num_examples}})
  with pytest.raises(ValueError, match='trained on these images'):
    _open(photos, prefix)


def test_path_with_signs_of_the_syntax(photos, save, tmp_path):
  prefix = save('lenet', size=28)
  for name in ('a=b@7', 'lenet=c'):
    values = {key: tf.constant(value) for key, value in _values(prefix).items()}
    checkpoints.save(tmp_path / name, 0, values, metadata={'model_name': 'lenet'}, max_to_keep=1)
    (found,) = _open(photos, str(tmp_path / name))
    assert found.source.image_size == 28


def _values(prefix):
  reader = tf.train.load_checkpoint(prefix)
  return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def test_downloaded_weights_are_the_default(photos, monkeypatch):
  monkeypatch.setattr(published, 'list_downloaded', list)
  with pytest.raises(ValueError, match='no published weights have been downloaded'):
    _open(photos, None)
  monkeypatch.setattr(published, 'list_downloaded', lambda: ['no_such_weights'])
  with pytest.raises(ValueError, match='zoo:no_such_weights'):
    _open(photos, None)


def test_downloaded_weights_that_cannot_be_used_are_left_out(photos, lenet, monkeypatch, capsys):
  monkeypatch.setattr(published, 'list_downloaded', lambda: ['broken', 'good'])
  really_open = candidates._open

  def opened(entry, parsed, dataset):
    if entry.path.endswith('broken'):
      raise ValueError('a truncated file')
    return really_open(dataclasses.replace(entry, path=lenet), parsed, dataset)

  monkeypatch.setattr(candidates, '_open', opened)
  assert [one.model_name for one in _open(photos, None)] == ['lenet']
  assert 'zoo:broken: a truncated file' in capsys.readouterr().out
  with pytest.raises(ValueError, match='zoo:broken'):
    _open(photos, 'zoo:broken,zoo:good')


@pytest.mark.parametrize(('order', 'kind', 'lacks'), [
  (None, '.npy', True), ('bgr', '.npy', False), (None, '.caffemodel', False),
  (None, '.pb', False), (None, '', False)])
def test_channel_order_is_for_weights_that_do_not_tell_it(order, kind, lacks):
  found = next((one for one in formats.FORMATS if kind and kind in one.suffixes), None)
  weights = types.SimpleNamespace(channel_order=order, format=found)
  assert candidates._lacks_order(weights, 'vgg_16') == lacks


def test_weights_of_the_same_directory_are_doubted(photos, save, capsys):
  prefix = save('lenet', metadata={
    'model_name': 'lenet', 'flags': {'dataset_name': 'folder', 'dataset_dir': str(photos)}})
  _open(photos, prefix)
  assert 'same directory' in capsys.readouterr().out
