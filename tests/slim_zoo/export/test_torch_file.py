"""Exports for PyTorch: names, shapes and values.

`scripts/oracles/compare_exports.py` loads them into torchvision's and timm's networks.
"""

from __future__ import annotations

import json
import types

import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf

from preprocessing.preprocessing_factory import PREPROCESSING
from scripts.oracles import exports, fixtures, values
from slim_zoo.export import runner, torch_file
from slim_zoo.export.model import LOGITS, Model
from slim_zoo.weights import restore, sources

QUICK = ('mobilenet_v1', 'resnet_v1_18', 'squeezenet')
SLOW = ('alexnet_torchvision', 'efficientnet_lite0', 'inception_v4', 'mobilenet_v3_small',
        'resnet50_torchvision')


def mark(name):
  if name in QUICK:
    return name
  return pytest.param(name, marks=pytest.mark.slow if name in SLOW else pytest.mark.thorough)


def export(folder, name, size, **arguments):
  model, path = exports.model(name, size, **arguments), folder / 'model.safetensors'
  torch_file.write(model, path)
  return model, path


def about(path):
  with safetensors.safe_open(path, 'numpy') as file:
    return file.metadata()


def unbuilt(name, size=224, channels=3):
  return Model(types.SimpleNamespace(variables={}, num_classes=10), size, channels, 'vgg',
               PREPROCESSING['vgg'].transform, name=name)


def assert_same_variables(model, path):
  """Restores the file; only sums and products with a number are rounded."""
  ours = {name: tuple(variable.shape) for name, variable in model.network.variables.items()}
  weights = sources.open_weights(str(path))
  report = restore.plan(weights.source, ours, weights.takes(model.name, ours))
  restore.check(report)
  assert [name for name in report.unused if not name.endswith('num_batches_tracked')] == []
  for row in report.rows:
    expected = model.network.variables[row.name].numpy()
    is_exact = not any(sign in step.text for step in row.take.steps for sign in '×+')
    np.testing.assert_allclose(restore.value(row, weights.source), expected,
                               rtol=0 if is_exact else 3e-7)


@pytest.mark.parametrize('name', [mark(name) for name in torch_file.NETWORKS])
def test_every_network(name, tmp_path):
  architecture, size = torch_file.NETWORKS[name], exports.sizes(name)[0]
  model, path = export(tmp_path, name, size)
  images = values.images(2, size)
  expected = model.outputs(images)[LOGITS].numpy()
  logits = torch_file.open_export(path)[runner.IMAGES](images)
  assert np.abs(logits - expected).max() < 1e-4 * np.abs(expected).max()
  assert_same_variables(model, path)
  fixture = fixtures.read('state_dicts', f'{architecture.library}_{architecture.name}')
  found = {key: list(array.shape) for key, array in safetensors.numpy.load_file(path).items()}
  assert fixture['network'] == name and found == fixture['state_dict']


def test_the_header_tells_how_to_make_the_network(tmp_path):
  _, path = export(tmp_path, 'mobilenet_v1', 33, num_classes=1001, channels=1)
  known = about(path)
  assert json.loads(known.pop('arguments')) == {'num_classes': 1001, 'pad_type': 'same',
                                                'in_chans': 1}
  assert known == {'format': 'pt', 'library': 'timm', 'architecture': 'mobilenetv1_100',
                   'num_classes': '1001', 'image_size': '33', 'channels': '1',
                   'model_name': 'mobilenet_v1'}
  assert torch_file.open_export(path)[runner.IMAGES](values.images(2, 33, 1)).shape == (2, 1001)


def test_scales_that_only_pytorch_has(tmp_path):
  """Inception's batch norm has none here."""
  model = unbuilt('inception_v4')
  scope = 'InceptionV4/Conv2d_1a_3x3'
  arrays = {f'{scope}/weights': (3, 3, 3, 32), **{
      f'{scope}/BatchNorm/{kind}': (32,) for kind in ('beta', 'moving_mean', 'moving_variance')}}
  model.network.variables.update({name: tf.Variable(values.variable(name, shape, {}))
                                  for name, shape in arrays.items()})
  torch_file.write(model, tmp_path / 'model.safetensors')
  found = safetensors.numpy.load_file(tmp_path / 'model.safetensors')
  np.testing.assert_array_equal(found['features.0.bn.weight'], np.ones(32))
  np.testing.assert_array_equal(found['features.0.conv.weight'],
                                model.values()[f'{scope}/weights'].transpose(3, 2, 0, 1))


@pytest.mark.parametrize(('name', 'advice'), [
    ('resnet_v1_50', 'variant, resnet50_torchvision, '),
    ('resnet152_keras', 'resnet152_torchvision, '), ('inception_v3', 'another target')])
def test_a_network_that_pytorch_does_not_have(name, advice, tmp_path):
  with pytest.raises(ValueError, match=rf'vgg_a\. Received: {name}\..*{advice}'):
    torch_file.write(unbuilt(name), tmp_path / 'model.safetensors')
  assert not list(tmp_path.iterdir())


def test_a_custom_head(tmp_path):
  with pytest.raises(ValueError, match=r'squeezenet with a custom head \(--head'):
    export(tmp_path, 'squeezenet', 64, head='flatten,fc')


@pytest.mark.parametrize(('name', 'size', 'channels', 'named'), [
    ('vgg_16', 256, 3, '--image_size'), ('alexnet_torchvision', 255, 3, '--image_size'),
    ('resnet_v1_18', 224, 1, 'channels')])
def test_images_for_which_it_is_another_network(name, size, channels, named, tmp_path):
  with pytest.raises(ValueError, match=named):
    torch_file.write(unbuilt(name, size, channels), tmp_path / 'model.safetensors')
