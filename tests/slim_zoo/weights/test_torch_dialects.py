"""State dicts of PyTorch's networks, restored by name, give PyTorch's logits.

The names, shapes and logits are PyTorch's, recorded by `scripts/oracles`.
"""

from __future__ import annotations

import dataclasses
import json
import pickle
import zipfile

import numpy as np
import pytest
import tensorflow as tf

from nets import nets_factory, outline, random_layers
from preprocessing.preprocessing_factory import PREPROCESSING
from scripts.oracles import fixtures, values
from slim_zoo.weights import formats, restore, safetensors_files, sources, torch_files
from slim_zoo.weights.dialects import torch as torch_dialects

CLASSES = 10
NAMES = fixtures.names('state_dicts')
QUICK = ('torchvision_mobilenet_v3_small', 'torchvision_resnet18', 'torchvision_squeezenet1_0',
         'timm_tf_efficientnet_lite0', 'lukemelas_efficientnet-lite0')
SLOW = ('timm_mobilenetv1_100', 'timm_mobilenetv3_small_100', 'timm_tf_mobilenetv3_small_100',
        'torchvision_alexnet', 'torchvision_mobilenet_v2')
INCEPTION_V3 = 'torchvision_inception_v3'
TYPES = {'float32': 'F32', 'int64': 'I64'}


def mark(name):
  if name in QUICK:
    return name
  return pytest.param(name, marks=pytest.mark.slow if name in SLOW else pytest.mark.thorough)


def write_safetensors(path, arrays):
  """Writes a file as https://github.com/huggingface/safetensors describes it."""
  header, position = {}, 0
  for key, array in arrays.items():
    header[key] = {'dtype': TYPES[array.dtype.name], 'shape': array.shape,
                   'data_offsets': [position, position + array.nbytes]}
    position += array.nbytes
  text = json.dumps(header).encode()
  with open(path, 'wb') as file:
    file.write(len(text).to_bytes(8, 'little') + text)
    for array in arrays.values():
      file.write(array.tobytes())


def load(expected, folder, **arguments):
  """Builds a network and restores it from a file with the names of a fixture."""
  path = str(folder / 'model.safetensors')
  write_safetensors(path, {key: values.array_of_torch(key, shape, expected['squares'])
                           for key, shape in expected['state_dict'].items()})
  name, size = expected['network'], expected['size']
  network = nets_factory.build_network(name, image_shape=[size, size, 3], num_classes=CLASSES,
                                       **arguments)
  ours = {key: tuple(variable.shape) for key, variable in network.variables.items()}
  weights = sources.open_weights(path)
  if dialect := expected.get('dialect'):  # As the list of published files states it.
    weights = dataclasses.replace(weights, metadata={'dialect': dialect})
  report = restore.plan(weights.source, ours, weights.takes(name, ours))
  restore.check(report)
  restore.apply(report, weights.source, network.variables)
  return network, report, weights.facts(name, ours)


def assert_near(ours, theirs, tolerance=1e-4):
  theirs = np.array(theirs)
  assert np.abs(theirs[0] - theirs[1]).max() > 0.005 * theirs.std() > 1e-4
  difference = np.abs(ours - theirs).max() / theirs.std()
  print(f'{difference:.1e} of the standard deviation')
  assert difference < tolerance


@pytest.mark.parametrize('name', [mark(name) for name in NAMES
                                  if name != INCEPTION_V3])
def test_logits_of_a_state_dict(name, tmp_path):
  expected = fixtures.read('state_dicts', name)
  network, report, facts = load(expected, tmp_path)
  assert [key for key in report.unused if not key.endswith('num_batches_tracked')] == []
  logits, _ = network(values.images(2, expected['size']), is_training=False)
  assert_near(logits, expected.get('logits_without_border', expected['logits']))
  assert ('logits_without_border' in expected) == ('average pools' in facts.get('note', ''))


@pytest.mark.thorough
def test_inception_v3_with_its_auxiliary_head(tmp_path, monkeypatch):
  monkeypatch.setattr(random_layers, '_scale_kept', lambda inputs, keep_prob, **unused: inputs)
  expected = fixtures.read('state_dicts', INCEPTION_V3)
  # Frozen batch norm, here all, uses its moving averages.
  network, report, facts = load(expected, tmp_path, is_training=True,
                                trainable_scopes=['InceptionV3/Logits'])
  assert [key for key in report.unused if not key.endswith('num_batches_tracked')] == []
  logits, end_points = network(values.images(2, expected['size']), is_training=True,
                               keys=tf.zeros([2, 2], tf.int64))
  assert_near(logits, expected['logits_without_border'])
  assert_near(end_points['AuxLogits'], expected['auxiliary_logits'])
  with pytest.raises(AssertionError):
    assert_near(logits, expected['logits'])  # The difference mentioned in the note.
  assert 'average pool' in facts['note'] and facts['preprocessing_name'] == 'inception'


@pytest.mark.parametrize('name', [mark(name) for name in NAMES])
def test_every_variable_has_an_array_of_matching_shape(name):
  expected = fixtures.read('state_dicts', name)
  shapes = {key: tuple(shape) for key, shape in expected['state_dict'].items()}
  traced = outline.trace(expected['network'], CLASSES,
                         image_shape=[expected['size'], expected['size'], 3])
  ours = {**traced.trainable, **traced.others}
  dialect = max(torch_dialects.dialects(expected['network']), key=lambda dialect: len(
    {take.key for take in dialect.takes(ours, shapes).values()} & {*shapes}))
  takes = dialect.takes(ours, shapes)
  assert [*takes] == [*ours]
  assert {take.key for take in takes.values()} <= {*shapes}
  for key, take in takes.items():
    fitted = take.apply(np.broadcast_to(np.float32(0), shapes[take.key]), ours[key])
    assert fitted.shape == ours[key], key
  used = {key for take in takes.values() for key in (take.key, take.factor)}
  assert [key for key in shapes if key not in used and not key.endswith('num_batches_tracked')
          and not key.startswith('AuxLogits')] == []


def test_every_network_with_names_has_a_fixture():
  tested = {fixtures.read('state_dicts', name)['network'] for name in NAMES}
  assert tested == {name for name in nets_factory.NETS if torch_dialects.dialects(name)}


def test_dialects_state_preprocessing_and_size():
  known = {(name, dialect) for name in nets_factory.NETS
           for dialect in torch_dialects.dialects(name)}
  assert {dialect.preprocessing for _, dialect in known} <= {*PREPROCESSING}
  of_torchvision = {name: dialect for name, dialect in known if dialect.name == 'torchvision'}
  assert of_torchvision['resnet50_torchvision'].preprocessing == 'torchvision'
  assert of_torchvision['mobilenet_v2'].image_size == 225
  assert '225' in of_torchvision['mobilenet_v2'].note


def test_slims_layout_of_a_resnet_has_no_names():
  """It has the shapes of torchvision's `resnet50`, but different strides."""
  assert torch_dialects.dialects('resnet_v1_50') == ()
  assert torch_dialects.dialects('resnet50_keras') == ()


def test_formats_are_recognized_by_their_first_bytes(tmp_path):
  path = tmp_path / 'file'
  with zipfile.ZipFile(path, 'w') as archive:
    archive.writestr('archive/data.pkl', b'')
  assert formats.recognize(str(path)).read is torch_files.read_torch
  magic = pickle.dumps(0x1950a86a20f9469cfc6c, 2)  # The first bytes written by PyTorch before 1.6.
  path.write_bytes(magic + pickle.dumps(1001, 2))
  assert formats.recognize(str(path)).read is torch_files.read_torch
  path.write_bytes(pickle.dumps({'conv1': []}, 2))
  assert formats.recognize(str(path)).read is not torch_files.read_torch
  write_safetensors(path, {'conv1.weight': np.zeros([2, 3], np.float32)})
  assert formats.recognize(str(path)).read is safetensors_files.read_safetensors
  path.write_bytes(b'\xff' * 8 + b'{}')
  assert formats.recognize(str(path)) is None  # A header longer than the file.
