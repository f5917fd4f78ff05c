"""The Python API for notebooks."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

import slim_zoo
from nets import nets_factory
from slim_zoo.training import checkpoints

_ROOT = pathlib.Path(__file__).parents[2]
_CLASSES = ['ant', 'bee', 'crab', 'dog']


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """A directory with a run of four classes, and photos of three sizes."""
  made = tmp_path_factory.mktemp('api')
  network = nets_factory.build_network('cifarnet', image_shape=[32, 32, 3], num_classes=4, seed=3)
  values = {**network.variables, 'global_step': tf.constant(7, tf.int64)}
  checkpoints.save(made / 'run', 7, values, metadata={
    'model_name': 'cifarnet', 'class_names': _CLASSES, 'image_size': 32, 'channels': 3,
    'preprocessing_name': 'cifarnet'}, max_to_keep=1)
  (made / 'photos').mkdir()
  random = np.random.default_rng(0)
  for number, shape in enumerate([(40, 50, 3), (32, 32, 3), (64, 33, 3)]):
    PIL.Image.fromarray(random.integers(0, 256, shape, np.uint8)).save(
      made / 'photos' / f'{number}.jpg')
  return made


def test_importing_it_does_not_import_tensorflow():
  code = "import sys, slim_zoo; dir(slim_zoo); assert 'tensorflow' not in sys.modules"
  assert subprocess.run([sys.executable, '-c', code], cwd=_ROOT, check=False).returncode == 0
  assert {*slim_zoo.__all__} <= {*dir(slim_zoo)}
  with pytest.raises(AttributeError, match='no_such'):
    slim_zoo.no_such  # noqa: B018


def test_networks_are_listed_and_built():
  assert {'alexnet_v2', 'vgg_16'} <= {*slim_zoo.list_networks()}
  assert slim_zoo.list_networks('lenet') == ['lenet']
  network = slim_zoo.build_network('lenet', num_classes=7)
  logits, _ = network(tf.zeros([2, 28, 28, 1]), is_training=False)
  assert logits.shape == [2, 7]


def test_model_predicts_like_predict_image(folder, run_here):
  model = slim_zoo.load(folder / 'run')
  paths = sorted((folder / 'photos').iterdir())
  found = model.predict(paths, top_k=2)
  code, out, _ = run_here('predict_image', f'--checkpoint_path={folder}/run', '--top_k=2',
                          *map(str, paths))
  assert code == 0
  shown = re.findall(r' ([\d.]+)  (\w+)$', out, re.MULTILINE)
  assert [(f'{p:.4f}', name) for row in found for name, p in row] == shown
  logits = model(model.preprocess(paths))
  assert logits.shape == [3, 4]
  assert [row[0][0] for row in found] == [model.class_names[i] for i in np.argmax(logits, 1)]
  # Arrays are images as well.
  array = np.asarray(PIL.Image.open(paths[0]))
  np.testing.assert_allclose(model.preprocess([array])[0], model.preprocess(paths[:1])[0], atol=0.1)


def test_weights_are_loaded_into_a_network(folder):
  network = slim_zoo.build_network('cifarnet', num_classes=9)
  before = {name: v.numpy() for name, v in network.variables.items()}
  with pytest.raises(ValueError, match='CifarNet/logits'):
    slim_zoo.load_weights(network, 'cifarnet', folder / 'run')
  report = slim_zoo.load_weights(network, 'cifarnet', folder / 'run', exclude=['CifarNet/logits'])
  changed = {name for name, v in network.variables.items() if not np.array_equal(v, before[name])}
  assert 'CifarNet/conv1/weights' in changed
  assert not any(name.startswith('CifarNet/logits') for name in changed)
  assert 'CifarNet/conv1/weights' in report.table()


@pytest.mark.parametrize(('call', 'error', 'named'), [
  (lambda model, folder: model.predict('a.jpg'), ValueError, 'a.jpg'),
  (lambda model, folder: model.predict([folder / 'none.jpg']), OSError, 'none.jpg'),
  (lambda model, folder: model.predict([folder / 'run' / 'checkpoint']), ValueError, 'checkpoint'),
  (lambda model, folder: slim_zoo.load(folder / 'nothing'), (ValueError, OSError), 'nothing'),
  (lambda model, folder: slim_zoo.load(folder / 'run', model_name='lenet'), ValueError, 'lenet'),
  (lambda model, folder: slim_zoo.build_network('lenett'), ValueError, 'lenet')])
def test_mistakes(folder, call, error, named):
  with pytest.raises(error, match=named):
    call(slim_zoo.load(folder / 'run'), folder)


def test_readme_example_runs(folder, monkeypatch, capsys):
  text = (_ROOT / 'README.md').read_text(encoding='utf-8')
  blocks = re.findall(r'^```python\n(.*?)^```', text, re.MULTILINE | re.DOTALL)
  example, = (block for block in blocks if block.startswith('import slim_zoo'))
  monkeypatch.chdir(folder)
  exec(compile(example, 'README.md', 'exec'), {})
  out = capsys.readouterr().out
  assert str(_CLASSES) in out and out.count('.jpg') == 3
