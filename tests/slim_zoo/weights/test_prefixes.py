from __future__ import annotations

import numpy as np
import pytest
import safetensors.numpy

from slim_zoo.weights import opening, prefixes


def _arrays(*names):
  return {name: np.full(1, place) for place, name in enumerate(names)}


@pytest.mark.parametrize(('names', 'left', 'removed'), [
  (('module.a', 'module.b'), ('a', 'b'), 'module.'),
  (('module.model.a', 'module.model.b'), ('a', 'b'), 'module.model.'),
  (('_orig_mod.a',), ('a',), '_orig_mod.'),
  ((*(f'backbone.{i}' for i in range(8)), 'head.weight', 'head.bias'),
   (*map(str, range(8)), 'head.weight', 'head.bias'), 'backbone.'),
  (('module.a', 'b'), ('module.a', 'b'), ''),
  (('model.a', 'model.b', 'model.c', 'model.d', 'model.e', 'a'),
   ('model.a', 'model.b', 'model.c', 'model.d', 'model.e', 'a'), ''),
  (('features.0.weight', 'features.1.weight'), ('features.0.weight', 'features.1.weight'), ''),
  (('module.',), ('module.',), ''), (('models.a',), ('models.a',), ''), ((), (), '')])
def test_prefixes_are_removed(names, left, removed):
  found, prefix = prefixes.without(_arrays(*names))
  assert (tuple(found), prefix) == (left, removed)
  assert [value[0] for value in found.values()] == list(range(len(names)))


@pytest.mark.parametrize('prefix', ['', 'module.', '_orig_mod.', 'model.', 'backbone.'])
def test_network_with_a_prefix(tmp_path, prefix, capsys):
  """All of ResNet-18 is found, and what was removed is printed."""
  shapes = {'conv1.weight': (64, 3, 7, 7), 'fc.weight': (10, 512), 'fc.bias': (10,)}
  width = 64
  norms = {'bn1': 64}
  for layer, channels in enumerate((64, 128, 256, 512), 1):
    for block in range(2):
      name = f'layer{layer}.{block}'
      shapes[f'{name}.conv1.weight'] = (channels, width, 3, 3)
      shapes[f'{name}.conv2.weight'] = (channels, channels, 3, 3)
      norms |= {f'{name}.bn1': channels, f'{name}.bn2': channels}
      if width != channels:
        shapes[f'{name}.downsample.0.weight'] = (channels, width, 1, 1)
        norms[f'{name}.downsample.1'] = channels
      width = channels
  shapes |= {f'{name}.{part}': (size,) for name, size in norms.items()
             for part in ('weight', 'bias', 'running_mean', 'running_var')}
  path = str(tmp_path / 'x.safetensors')
  safetensors.numpy.save_file({
    (name if prefix == 'backbone.' and name.startswith('fc') else prefix + name):
      np.ones(shape, np.float32) for name, shape in shapes.items()}, path)
  weights, _ = opening.open_weights(path, model_name='resnet_v1_18')
  assert opening.num_outputs(weights, 'resnet_v1_18') == 10
  printed = capsys.readouterr().out
  assert (repr(prefix) in printed) == bool(prefix)
