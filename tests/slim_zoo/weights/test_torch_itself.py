"""PyTorch's own networks, saved by PyTorch in each of its formats, if PyTorch is installed.

The same as `test_torch_dialects.py`, without fixtures in between.
"""

from __future__ import annotations

import numpy as np
import pytest

from nets import nets_factory
from scripts.oracles import values
from slim_zoo.weights import restore, sources

torch = pytest.importorskip('torch')
pytest.importorskip('timm', exc_type=Exception)  # Also torchvision, whose build may not match.
safetensors_torch = pytest.importorskip('safetensors.torch')

SAVES = {
  'zip': torch.save,
  'legacy': lambda state, path: torch.save(state, path, _use_new_zipfile_serialization=False),
  'safetensors': safetensors_torch.save_file,
}


@pytest.mark.parametrize('saved_as', SAVES)
@pytest.mark.parametrize('network, library, name, size', [
  ('resnet_v1_18', 'torchvision', 'resnet18', 64),
  ('mobilenet_v3_small', 'torchvision', 'mobilenet_v3_small', 97),
  ('mobilenet_v3_small', 'timm', 'tf_mobilenetv3_small_100', 64),
  ('squeezenet_1_1', 'torchvision', 'squeezenet1_1', 64)])
def test_logits_of_a_saved_network(network, library, name, size, saved_as, tmp_path):
  from scripts.oracles import torch_models

  torch.manual_seed(0)
  model = getattr(torch_models, library)(name)().eval()
  path = str(tmp_path / 'model')
  SAVES[saved_as](model.state_dict(), path)
  ours = nets_factory.build_network(network, image_shape=[size, size, 3],
                                    num_classes=torch_models.CLASSES)
  shapes = {key: tuple(variable.shape) for key, variable in ours.variables.items()}
  weights = sources.open_weights(path)
  report = restore.plan(weights.source, shapes, weights.takes(network, shapes))
  restore.check(report)
  restore.apply(report, weights.source, ours.variables)
  images = values.images(2, size)
  with torch.no_grad():
    expected = model(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
  logits, _ = ours(images, is_training=False)
  np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-3 * expected.std())
