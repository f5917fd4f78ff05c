"""Opening weights: their format, dialect and known facts."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import tensorflow as tf

from nets import nets_factory, outline
from slim_zoo.training import checkpoints
from slim_zoo.weights import formats, reader, restore, sources

SHAPES = {'conv1': (11, 11, 3, 96), 'conv2': (5, 5, 48, 256), 'conv3': (3, 3, 256, 384),
          'conv4': (3, 3, 192, 384), 'conv5': (3, 3, 192, 256), 'fc6': (9216, 4096),
          'fc7': (4096, 4096), 'fc8': (4096, 1000)}


def variables_of(name, num_classes=1000):
  size = 227 if name == 'alexnet' else 224
  traced = outline.trace(name, num_classes, image_shape=[size, size, 3])
  return {**traced.trainable, **traced.others}


@pytest.fixture(scope='module')
def alexnet(tmp_path_factory):
  """A file like `bvlc_alexnet.npy`; its numbers repeat, so that it stays small."""
  path = tmp_path_factory.mktemp('alexnet') / 'bvlc_alexnet.npy'
  layers = {name: [np.broadcast_to(np.float16(1), shape), np.zeros(shape[-1], np.float32)]
            for name, shape in SHAPES.items()}
  np.save(path, np.array(layers, dtype=object))
  return str(path)


def test_every_variable_is_found(alexnet):
  weights = sources.open_weights(alexnet)
  ours = variables_of('alexnet')
  report = restore.plan(weights.source, ours, weights.takes('alexnet', ours))
  assert report.names(restore.RESTORED) == list(ours)
  assert report.unused == ()
  row = next(row for row in report.rows if row.name == 'alexnet/fc6/weights')
  assert row.origin() == 'fc6/weights 9216×4096'
  assert restore.value(row, weights.source).shape == (6, 6, 256, 4096)


def test_different_number_of_classes_mismatches_only_the_head(alexnet):
  weights, ours = sources.open_weights(alexnet), variables_of('alexnet', 5)
  report = restore.plan(weights.source, ours, weights.takes('alexnet', ours))
  assert report.names(restore.MISMATCHED) == ['alexnet/fc8/weights', 'alexnet/fc8/biases']
  with pytest.raises(ValueError, match='fc8/weights: the network has 1×1×4096×5, the checkpoint '
                     r'1×1×4096×1000\n(.*\n)*.*--checkpoint_exclude_scopes=alexnet/fc8'):
    restore.check(report, head=('alexnet/fc8',))


@pytest.mark.parametrize('format_', [
  known for known in (*formats.FORMATS, formats.OBJECT_BASED) if '.caffemodel' not in known.name],
  ids=lambda known: known.name)
def test_dialects_of_other_programs_skip_custom_heads(format_):
  head = {'head/fc1/weights': (3, 2), 'head/fc1/biases': (2,)}
  file = sources.Arrays('file', {'a': np.zeros(1, np.float32)})
  known = [name for name in nets_factory.list_nets() if format_.dialects(name, 'rgb')]
  assert known
  for name in known:
    takes = sources.Weights(file, {}, format_, 'rgb').takes(name, head)
    assert all(take.key not in file.shapes for take in takes.values())


def test_network_unknown_in_the_format(alexnet):
  with pytest.raises(ValueError, match='bvlc_alexnet.npy is a dict of .*Received: '
                     '--model_name=lenet'):
    sources.open_weights(alexnet).facts('lenet', {})


@pytest.mark.parametrize(('order', 'steps'), [('bgr', 'BGR to RGB'), ('rgb', '')])
def test_channel_order_is_needed_if_both_exist(tmp_path, order, steps):
  kernel = np.random.default_rng(0).normal(size=(3, 3, 3, 64)).astype(np.float32)
  path = tmp_path / 'vgg16.npy'
  np.save(path, np.array({'conv1_1': {'weights': kernel, 'biases': np.zeros(64)}}, dtype=object))
  ours = {'vgg_16/conv1/conv1_1/weights': (3, 3, 3, 64), 'vgg_16/conv1/conv1_1/biases': (64,)}
  with pytest.raises(ValueError, match='--checkpoint_channel_order=bgr .* or rgb'):
    sources.open_weights(str(path)).takes('vgg_16', ours)
  weights = sources.open_weights(str(path), channel_order=order)
  row = restore.plan(weights.source, ours, weights.takes('vgg_16', ours)).rows[0]
  assert row.take.text() == steps
  found = restore.value(row, weights.source)
  np.testing.assert_array_equal(found, kernel[:, :, ::-1] if steps else kernel)


def test_channel_order_is_rejected_if_the_file_states_it(tmp_path):
  prefix = str(tmp_path / 'model.ckpt-0')
  tf.raw_ops.SaveV2(prefix=prefix, tensor_names=['w'], shape_and_slices=[''], tensors=[[1.0]])
  with pytest.raises(ValueError, match='--checkpoint_channel_order'):
    sources.open_weights(prefix, channel_order='bgr')


def test_checkpoint_has_metadata_and_our_names(tmp_path):
  prefix = str(tmp_path / 'model.ckpt-0')
  tf.raw_ops.SaveV2(prefix=prefix, tensor_names=['net/w', 'net/w/ExponentialMovingAverage'],
                    shape_and_slices=[''] * 2, tensors=[[1.0], [2.0]])
  (tmp_path / 'model.ckpt-0.json').write_text(json.dumps({'model_name': 'lenet'}))
  (tmp_path / 'checkpoint').write_text('model_checkpoint_path: "model.ckpt-0"\n')
  for path in (tmp_path, prefix, f'{prefix}.index', tmp_path / 'checkpoint'):
    weights = sources.open_weights(str(path))
    assert weights.format is None
    assert weights.facts('lenet', {}) == {'model_name': 'lenet'}
    for asked, key in ((None, 'net/w/ExponentialMovingAverage'), (False, 'net/w'),
                       (True, 'net/w/ExponentialMovingAverage')):
      assert weights.takes('lenet', {'net/w': (1,)}, use_averages=asked)['net/w'].key == key


@pytest.mark.parametrize(('there', 'found'), [
    ({'export': 'frozen graph', 'model_name': 'lenet'}, {'export', 'model_name'}),
    ({'model_name': 'resnet50', 'image_size': [224, 224], 'license': 'mit'}, set()), ([1], set())])
def test_json_next_to_a_file_is_used_only_from_exports(tmp_path, there, found):
  path = tmp_path / 'weights.npy'
  np.save(path, np.array({'fc8': [np.ones((2, 3)), np.zeros(3)]}, dtype=object))
  path.with_name('weights.npy.json').write_text(json.dumps(there))
  assert sources.open_weights(str(path)).metadata.keys() == found


def test_requested_moving_averages_must_exist(alexnet, tmp_path):
  prefix = str(tmp_path / 'model.ckpt-0')
  tf.raw_ops.SaveV2(prefix=prefix, tensor_names=['w'], shape_and_slices=[''], tensors=[[1.0]])
  for path, name in ((prefix, 'w'), (alexnet, 'alexnet/conv1/weights')):
    with pytest.raises(ValueError, match='xpected moving averages'):
      sources.open_weights(path).takes('alexnet', {name: (1,)}, use_averages=True)


def test_first_layer_is_converted_on_request(alexnet):
  weights = sources.open_weights(alexnet)
  ours = {**variables_of('alexnet'), 'alexnet/conv1/weights': (11, 11, 1, 96)}
  takes = weights.takes('alexnet', ours)
  report = restore.plan(weights.source, ours, takes)
  assert report.names(restore.MISMATCHED) == ['alexnet/conv1/weights']
  report = restore.plan(weights.source, ours, takes, change_channels=True)
  restore.check(report)
  assert report.rows[0].origin() == 'conv1/weights 11×11×3×96, channels summed or repeated'
  np.testing.assert_array_equal(restore.value(report.rows[0], weights.source),
                                np.full((11, 11, 1, 96), 3))


def test_unknown_format_is_not_reported_as_a_damaged_checkpoint(tmp_path):
  path = tmp_path / 'readme.txt'
  path.write_bytes(b'hello')
  with pytest.raises(ValueError, match='readme.txt: expected weights in one of these formats: '
                     '.*safetensors.*Received: something else'):
    sources.open_weights(str(path))


def test_pickles_of_python_2(tmp_path):
  path = tmp_path / 'weights.p'
  with open(path, 'wb') as file:
    pickle.dump({'conv1': [np.ones((1, 1, 3, 2), np.float32), np.zeros(2, np.float32)]}, file, 0)
  assert sources.open_weights(str(path)).source.shapes == {
    'conv1/weights': (1, 1, 3, 2), 'conv1/biases': (2,)}


@pytest.mark.parametrize('content', [b'', b'\x93NUMPY garbage', b'\x80\x04N.', b'just text'])
def test_invalid_pickles_give_one_error(tmp_path, content):
  path = tmp_path / 'weights.npy'
  path.write_bytes(content)
  with pytest.raises(ValueError, match=r'weights\.npy') as error:
    sources.open_weights(str(path))
  assert type(error.value) is ValueError or 'CheckpointError' in type(error.value).__name__


@pytest.mark.parametrize('layers', [
  [1, 2], {}, {'conv1': 3}, {'conv1': [np.zeros(3)]}, {'conv1': [np.zeros(3), 'text']},
  {'conv1': [np.zeros(3, np.int32), np.zeros(3)]}])
def test_pickles_of_other_content_are_rejected(tmp_path, layers):
  path = tmp_path / 'weights.npy'
  np.save(path, np.array(layers, dtype=object) if type(layers) is dict else np.array(layers))
  with pytest.raises(ValueError, match='layers'):
    sources.open_weights(str(path))


def test_checkpoint_that_is_replaced_while_it_is_opened(tmp_path, monkeypatch):
  def save(step):
    checkpoints.save(tmp_path, step, {'x': tf.fill([3], float(step))}, metadata={'step': step},
                     max_to_keep=1)

  opened = []

  def open_late(prefix):
    opened.append(prefix)
    if len(opened) < 3:  # The run saves between finding the newest checkpoint and opening it.
      save(len(opened) + 1)
    return reader.Checkpoint(prefix)

  save(1)
  monkeypatch.setattr(sources, 'Checkpoint', open_late)
  weights = sources.open_weights(str(tmp_path))
  assert len(opened) == 3
  save(4)  # Between opening and reading.
  assert weights.metadata['step'] == weights.source.read('x')[0] == 3
