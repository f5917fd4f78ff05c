"""inspect_weights.py: what it prints, and that the printed commands run."""

from __future__ import annotations

import json
import re
import shlex

import numpy as np
import pytest
import tensorflow as tf

from nets import outline
from tests.command_lines import check_command

_PROGRAM = 'inspect_weights'


def _commands(out: str, photos) -> list[list[str]]:
  """The printed commands, with a directory in place of the placeholder."""
  blocks = re.findall(r'^# .*\n((?:.*\\\n)*.*)$', out, re.MULTILINE)
  return [[re.sub(r'(^|=)photos$', rf'\g<1>{photos}', word)
           for word in shlex.split(block.replace('\\\n', ''))] for block in blocks]


@pytest.fixture
def photos(tmp_path):
  """Four images of each of two classes."""
  folder = tmp_path / 'two classes'
  for name in ('a', 'b'):
    (folder / name).mkdir(parents=True)
    for i in range(4):
      pixels = np.full((28, 28, 3), 60 * i, np.uint8) + np.uint8(name == 'b')
      (folder / name / f'{i}.png').write_bytes(tf.io.encode_png(pixels).numpy())
  return folder


@pytest.mark.slow
def test_printed_commands_run(run_here, photos, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  traced = outline.trace('lenet', 2, image_shape=[28, 28, 1])
  arrays = {name: np.ones(shape, np.float32) / 100
            for name, shape in {**traced.trainable, **traced.others}.items()}
  prefix = tmp_path / 'my files' / 'model.bin'
  prefix.parent.mkdir()
  tf.raw_ops.SaveV2(prefix=str(prefix), tensor_names=list(arrays), shape_and_slices=[''] * 8,
                    tensors=list(arrays.values()))
  code, out, errors = run_here(_PROGRAM, f'--checkpoint_path={prefix}',
                               f'--output_path={tmp_path}/found.json')
  assert code == 0, errors
  assert re.search('^Network: lenet', out, re.MULTILINE) and 'Classes: 2.' in out
  found = _commands(out, photos)
  assert [words[1] for words in found] == [
    'eval_image_classifier.py', 'predict_image.py', 'train_image_classifier.py']
  saved = json.loads((tmp_path / 'found.json').read_text())
  assert saved['networks'][0]['name'] == 'lenet' and len(saved['arrays']) == 8
  assert set(saved['commands']['']) == {'evaluate', 'predict', 'fine-tune'}
  for words in found:
    check_command(words)
    code, _, errors = run_here(words[1].removesuffix('.py'), *words[2:])
    assert code == 0, errors
  assert (tmp_path / 'fine_tuned' / 'checkpoint').exists()
  code, out, errors = run_here(_PROGRAM, '--checkpoint_path=fine_tuned', '--all_variables')
  assert code == 0, errors
  assert 'lenet, as its metadata say' in out and 'Classes: 2. Their names are known: a, b.' in out
  assert 'RMSProp' in out and 'started from' in out
  (evaluation, *_) = _commands(out, photos)
  assert evaluation[2:] == ['--checkpoint_path=fine_tuned']  # It knows its data.
  assert run_here('eval_image_classifier', *evaluation[2:])[0] == 0


@pytest.mark.parametrize(('content', 'said'), [
  (b'some text', 'something else'), (b'\x89PNG\r\n\x1a\n', 'image'), (None, 'no files'),
  (b'\x80\x02cos\nsystem\nX\x04\0\0\0exit\x85R.', 'os.system')])
def test_what_is_no_weights(run_here, tmp_path, content, said):
  path = tmp_path / 'model.bin'
  if content is None:
    path.mkdir()
  else:
    path.write_bytes(content)
  code, out, errors = run_here(_PROGRAM, f'--checkpoint_path={path}')
  assert (code, out) == (1, '')
  assert errors.count('Error: ') == 1 and str(path) in errors and said in errors


def test_wrong_flags(run_here, tmp_path):
  existing = tmp_path / 'model.json'
  existing.write_text('mine')
  for flags, said in (((), '--checkpoint_path'), ((f'--checkpoint_path={tmp_path}/none',), 'none'),
                      (('--checkpoint_path=x', '--output_path=x.txt'), '--output_path'),
                      (('--checkpoint_path=x', f'--output_path={existing}'), '--output_path'),
                      (('--checkpoint_path=x', '--model_name=lennet'), 'lenet')):
    code, _, errors = run_here(_PROGRAM, *flags)
    assert code == 1 and said in errors
  assert existing.read_text() == 'mine'
