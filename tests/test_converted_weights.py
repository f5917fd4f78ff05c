"""Weights of other programs in training, evaluation and convert_weights.py."""

from __future__ import annotations

import json
import re
import warnings

import numpy as np
import pytest
import tensorflow as tf

from nets import nets_factory

_TRAIN = 'train_image_classifier'
_EVAL = 'eval_image_classifier'
_DIGITS = ['--dataset_name=digits', '--model_name=lenet', '--optimizer=momentum', '--xla=off']


@pytest.mark.slow
def test_weights_without_a_network_need_its_name(run_here, tmp_path):
  path = tmp_path / 'weights.npy'
  np.save(path, np.array({'conv1': [np.zeros((3, 3, 3, 8)), np.zeros(8)]}, dtype=object))
  for script, flag in ((_EVAL, 'eval_dir'), (_TRAIN, 'train_dir'), ('convert_weights',
                                                                   'output_dir')):
    code, _, errors = run_here(script, f'--{flag}={tmp_path}/out', f'--checkpoint_path={path}')
    assert code == 1
    assert '--model_name' in errors


@pytest.mark.slow
def test_keras_weights_directly_and_converted(run_here, tmp_path):
  import keras
  model = keras.applications.MobileNet(alpha=0.25, input_shape=(32, 32, 3), classes=10,
                                       weights=None)
  path = str(tmp_path / 'model.keras')
  with warnings.catch_warnings():
    warnings.simplefilter('ignore', DeprecationWarning)  # Keras' own use of NumPy.
    model.save(path)
  common = ['--model_name=mobilenet_v1_025', f'--checkpoint_path={path}']
  data = ['--dataset_name=digits', '--dataset_split_name=validation', '--eval_image_size=32']

  code, _, errors = run_here(_EVAL, *common, *data, f'--eval_dir={tmp_path}/eval')
  assert code == 1
  assert re.search('Conv2d_0/weights.* 3×3×1×8.* 3×3×3×8.*--convert_input_channels', errors,
                   re.DOTALL), errors
  fitted = [*common, '--convert_input_channels']
  code, out, errors = run_here(_EVAL, *fitted, *data, f'--eval_dir={tmp_path}/eval')
  assert code == 0, errors
  assert re.search(r'\b137 restored, 0 ', out)
  report = (tmp_path / 'eval' / 'restored.txt').read_text()
  assert '3×3×1×8 <- conv1/kernel 3×3×3×8' in report

  out_dir = tmp_path / 'converted'
  code, out, errors = run_here('convert_weights', *fitted, '--use_grayscale',
                               '--image_size=32', f'--output_dir={out_dir}')
  assert code == 0, errors
  assert re.search(f'{out_dir}/model.ckpt-0.* mobilenet_v1_025, 10 classes, 32×32, inception', out)
  assert 'conv1/kernel' in (out_dir / 'restored.txt').read_text()
  code, out, errors = run_here(  # It knows its network and its image size.
      _EVAL, f'--checkpoint_path={out_dir}', *data[:2], f'--eval_dir={tmp_path}/eval2')
  assert code == 0, errors
  found = [json.loads((tmp_path / name / 'eval.json').read_text()) for name in ('eval', 'eval2')]
  assert [found[0][key] for key in ('top_1', 'top_5', 'loss', 'count')] == \
      [found[1][key] for key in ('top_1', 'top_5', 'loss', 'count')]

  # TF-Slim's graph can restore it.
  names = {name for name, _ in tf.train.list_variables(str(out_dir))}
  assert 'MobilenetV1/Logits/Conv2d_1c_1x1/weights' in names


@pytest.mark.slow
def test_conversion_does_not_remove_other_checkpoints(run_here, tmp_path):
  run = tmp_path / 'run'
  assert run_here(_TRAIN, f'--train_dir={run}', *_DIGITS, '--max_number_of_steps=1')[0] == 0
  before = sorted(tmp_path.rglob('*'))
  code, _, errors = run_here('convert_weights', f'--checkpoint_path={run}',
                               f'--output_dir={run}')
  assert code == 1
  assert '--output_dir' in errors and str(run) in errors
  assert sorted(tmp_path.rglob('*')) == before
  for _ in range(2):  # Its own result may be overwritten.
    code, _, errors = run_here('convert_weights', f'--checkpoint_path={run}',
                                   f'--output_dir={tmp_path}/out')
    assert code == 0, errors
  # A run may start from it, but not be in its folder.
  train = ['--dataset_name=digits', '--dry_run']
  code, out, errors = run_here(_TRAIN, *train, f'--checkpoint_path={tmp_path}/out',
                               f'--train_dir={tmp_path}/next')
  assert code == 0, errors
  assert re.search('8 restored, .*1 .*unused', out)
  code, _, errors = run_here(_TRAIN, *train, f'--train_dir={tmp_path}/out')
  assert code == 1
  assert f'--train_dir={tmp_path}/out' in errors
  # The conversion to grey images is recorded.
  code, _, errors = run_here(
      _EVAL, f'--checkpoint_path={tmp_path}/out', '--dataset_name=digits',
      f'--eval_dir={tmp_path}/eval', '--dataset_split_name=validation')
  assert code == 0, errors


@pytest.fixture(scope='module')
def quantized_lenet(tmp_path_factory):
  """LeNet for ten digits with kernels of int8."""
  network = nets_factory.build_network('lenet', image_shape=[28, 28, 1], num_classes=10)
  for name, variable in network.variables.items():
    if name.endswith('/biases'):  # The converter removes zeros.
      variable.assign(tf.ones_like(variable) / 10)
  module = tf.Module()
  module.variables_of_network = list(network.variables.values())
  module.logits = tf.function(lambda images: network(images, is_training=False)[0],
                              autograph=False, input_signature=[tf.TensorSpec([1, 28, 28, 1])])
  converter = tf.lite.TFLiteConverter.from_concrete_functions(
    [module.logits.get_concrete_function()], module)
  converter.optimizations = [tf.lite.Optimize.DEFAULT]
  path = tmp_path_factory.mktemp('lenet') / 'quantized.tflite'
  path.write_bytes(converter.convert())
  return str(path)


@pytest.mark.slow
@pytest.mark.parametrize('script, flags, files, warns', [
  (_EVAL, ['--dataset_split_name=validation', '--eval_dir={}'], ['eval.json'], False),
  (_TRAIN, ['--max_number_of_steps=1', '--train_dir={}'], ['model.ckpt-1.index'], True),
  ('convert_weights', ['--output_dir={}'], ['model.ckpt-0.index'], False),
  ('extract_features', ['--dataset_split_name=validation', '--output_path={}/f.npz'], ['f.npz'],
   False)])
def test_quantized_weights(run_here, quantized_lenet, tmp_path, script, flags, files, warns):
  common = [f'--checkpoint_path={quantized_lenet}', '--model_name=lenet']
  data = ['--dataset_name=digits'] if script != 'convert_weights' else []
  code, out, errors = run_here(script, *common, *data, *(flag.format(tmp_path) for flag in flags))
  assert code == 0, errors
  assert len(re.findall('^Note: .*int8.*$', out, re.MULTILINE)) == 1
  assert len(re.findall('^Warning: .*int8.*$', out, re.MULTILINE)) == warns
  assert [file for file in files if not (tmp_path / file).is_file()] == []
