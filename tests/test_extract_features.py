"""extract_features.py as users run it."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from datasets import content, dataset_factory
from nets import nets_factory
from preprocessing import preprocessing_factory
from slim_zoo.evaluation import classifier
from slim_zoo.features import formats
from slim_zoo.training import checkpoints

_SCRIPT = 'extract_features'


def _images(paths, preprocessing_name: str, size: int) -> tf.Tensor:
  preprocess = preprocessing_factory.get_preprocessing(preprocessing_name)
  return tf.stack([preprocess(tf.io.read_file(str(path)), size, size) for path in paths])


@pytest.fixture
def photos(tmp_path):
  """A folder of 6 photos in each of 2 classes, one of which is broken."""
  random = np.random.default_rng(0)
  for name in ('ant', 'bee'):
    (tmp_path / 'photos' / name).mkdir(parents=True)
    for index in range(6):
      pixels = random.integers(0, 256, [40, 50, 3]).astype(np.uint8)
      path = tmp_path / 'photos' / name / f'{index}.jpg'
      path.write_bytes(tf.io.encode_jpeg(pixels).numpy())
  (tmp_path / 'photos' / 'ant' / '4.jpg').write_bytes(b'broken')
  return tmp_path / 'photos'


@pytest.fixture(scope='module')
def extract(in_process):
  with in_process(_SCRIPT) as run:
    yield run


@pytest.mark.slow
def test_extraction_continues_after_a_kill(extract, photos, tmp_path, capsys):
  network = nets_factory.build_network('lenet', image_shape=[28, 28, 3], num_classes=2)
  prefix = checkpoints.save(tmp_path / 'run', 7, network.variables, metadata={
      'format': 1, 'model_name': 'lenet', 'class_names': ['ant', 'bee'], 'image_size': 28,
      'channels': 3, 'preprocessing_name': 'lenet', 'flags': {}}, max_to_keep=1)
  dataset = dataset_factory.get_dataset('folder', 'train', photos, validation_fraction=0)
  names = [name for name in dataset.examples.names if name != 'ant/4.jpg']
  needed = {name: variable for name, variable in network.variables.items() if 'fc4' not in name}
  path = tmp_path / 'features.parquet'
  with formats.writer(path, class_names=['ant', 'bee'], num_examples=11, shape=[1024], facts={
      'model_name': 'lenet', 'end_point': 'fc3', 'checkpoint': str(prefix),
      'checkpoint_digest': classifier.digest_of(needed), 'preprocessing_name': 'lenet',
      'transform': preprocessing_factory.get_recipe('lenet').transform.to_json(),
      'preprocessing_digest': preprocessing_factory.code_digest(), 'image_size': 28, 'channels': 3,
      'compute_dtype': 'float32', 'dataset': 'folder',
      'split': 'train', 'is_part': False, 'dataset_fingerprint': dataset.fingerprint,
      'content_digest': content.digest(dataset), 'bad_images': ['ant/4.jpg']}) as output:
    # Seven values that the network would not give show that these rows are not computed again.
    output.write(names[:7], [0] * 5 + [1] * 2, np.full([7, 1024], 5, np.float32))

  arguments = (f'--checkpoint_path={tmp_path}/run', '--dataset_name=folder',
               f'--dataset_dir={photos}', '--validation_fraction=0', '--end_point=fc3',
               '--batch_size=3', f'--output_path={path}', '--on_bad_image=skip')
  assert extract(*arguments) == 0
  out = capsys.readouterr().out
  assert 'ant/4.jpg' in out
  assert re.search(r'\b7 ', out)
  assert re.search(rf'11 × \[1024\] .*{path}.*\b4 images', out)
  found = formats.read(path)
  assert found.names == tuple(names)
  assert found.labels.tolist() == [0] * 5 + [1] * 6
  assert (found.values[:7] == 5).all()
  images = _images([photos / name for name in names[7:]], 'lenet', 28)
  _, end_points = tf.function(lambda: network(images, is_training=False))()
  np.testing.assert_allclose(found.values[7:], end_points['fc3'], rtol=0, atol=1e-5)
  assert '6 restored' in (tmp_path / 'features.parquet.restored.txt').read_text()
  assert extract(*arguments) == 0
  assert re.search(f'{path} .*finished', capsys.readouterr().out)
  # Another photo of the same name requires another file of features.
  (photos / 'bee' / '0.jpg').write_bytes((photos / 'bee' / '1.jpg').read_bytes())
  report = tmp_path / 'features.parquet.restored.txt'
  report.write_text('of the features that are there')
  with pytest.raises(ValueError, match='content_digest'):
    extract(*arguments)
  assert report.read_text() == 'of the features that are there'


@pytest.mark.thorough
def test_features_of_real_photos_equal_keras(run_script, zoo_assets, tmp_path):
  weights = zoo_assets / 'weights' / 'keras_mobilenet_0.25_128.h5'
  files = [file for name in ('daisy', 'roses')
           for file in sorted((zoo_assets / 'flowers' / name).glob('*.jpg'))[:6]]
  (tmp_path / 'list.csv').write_text(''.join(f'{file},{file.parent.name}\n' for file in files))
  code, out, errors = run_script(
      _SCRIPT, f'--checkpoint_path={weights}', '--model_name=mobilenet_v1_025', '--image_size=128',
      '--dataset_name=csv', f'--dataset_dir={tmp_path}/list.csv', '--validation_fraction=0',
      f'--output_path={tmp_path}/features.npz', '--batch_size=5')
  assert code == 0, errors
  found = formats.read(tmp_path / 'features.npz')
  model = keras.applications.MobileNet((128, 128, 3), alpha=0.25, weights=None)
  model.load_weights(weights)
  pooled = keras.Model(model.input, model.get_layer('global_average_pooling2d').output)
  expected = pooled(_images(files, 'inception', 128)).numpy().reshape(len(files), -1)
  np.testing.assert_allclose(found.values, expected, rtol=0, atol=1e-4)
  assert np.ptp(expected) > 1
  assert [found.class_names[label] for label in found.labels] == [f.parent.name for f in files]
  assert out.count('\n') < 10
