"""Lines of flags for a sweep: combinations, names, quoting and mistakes."""

from __future__ import annotations

import os
import pathlib
import shlex
import subprocess
import sys

import pytest

from slim_zoo.config import flag_values, programs

_ROOT = pathlib.Path(__file__).parents[2]


def _run(*arguments: str) -> subprocess.CompletedProcess:
  return subprocess.run([sys.executable, 'scripts/write_sweep.py', *arguments], cwd=_ROOT,
                        capture_output=True, check=False)


def _lines(*arguments: str) -> list[str]:
  found = _run(*arguments)
  assert found.returncode == 0, found.stderr
  return os.fsdecode(found.stdout).splitlines()


def test_combinations():
  lines = _lines('--learning_rate=1e-2', '--learning_rate=0.1', '--model_name=lenet',
                 '--model_name=cifarnet', '--epochs=3', '--runs_dir=a b')
  parsed = [flag_values.parse(programs.Train, shlex.split(line))[0] for line in lines]
  assert [(one.config.model.model_name, one.config.optimization.learning_rate)
          for one in parsed] == [
    ('lenet', 0.01), ('lenet', 0.1), ('cifarnet', 0.01), ('cifarnet', 0.1)]
  assert {one.config.duration.epochs for one in parsed} == {3}
  folders = [one.config.saving.train_dir for one in parsed]
  assert len({*folders}) == 4 and folders[0] == 'a b/model_name=lenet,learning_rate=1e-2'


def test_commas_and_booleans():
  lines = _lines('--trainable_scopes=a,b', '--trainable_scopes=c', '--nesterov', '--nonesterov',
                 '--sync_batch_norm')
  parsed = [flag_values.parse(programs.Train, shlex.split(line))[0].config for line in lines]
  assert [(one.fine_tuning.trainable_scopes, one.settings.nesterov) for one in parsed] == [
    ('a,b', True), ('a,b', False), ('c', True), ('c', False)]


def test_order_on_the_command_line_does_not_matter():
  flags = ['--seed=1', '--seed=2', '--model_name=a', '--model_name=b']
  assert {*_lines(*flags)} == {*_lines(*reversed(flags))}


_ODD = ['a b', "it's", '"quoted"', 'Grüße', 'back\\slash', '$HOME `x` *', '~/data', '', '\udcff',
        'x' * 500, '//', '_', '-', '#', "' '", '猫' * 100]


@pytest.mark.parametrize('reader', ['shell', 'xargs', 'sweep.sbatch'])
def test_values_are_read_back(tmp_path, reader):
  flags = [f'--dataset_dir={value}' for value in _ODD]
  lines = _lines(*flags, '--runs_dir=rüns "a"')
  sweep = tmp_path / 'sweep.txt'
  sweep.write_bytes(os.fsencode(''.join(f'{line}\n' for line in lines)))
  show = tmp_path / 'srun'
  show.write_text(f'#!{sys.executable}\nimport sys\n'
                  'sys.stdout.write("".join(f"{word!a}\\n" for word in sys.argv[1:]))\n')
  show.chmod(0o755)
  found = []
  for number, line in enumerate(lines, start=1):
    command, environment = {
      'shell': (['bash', '-c', b'%b %b' % (os.fsencode(show), os.fsencode(line))], {}),
      'xargs': (['bash', '-c', f'sed -n {number}p "$1" | xargs -L1 "$0"', show, sweep], {}),
      'sweep.sbatch': (['bash', _ROOT / 'scripts/slurm/sweep.sbatch', sweep],
                       {'SLURM_ARRAY_TASK_ID': str(number)}),
    }[reader]
    out = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {
      'PATH': f'{tmp_path}:{os.environ["PATH"]}'} | environment).stdout
    words = [word for word in map(eval, [
      text for text in out.splitlines() if text.startswith(("'", '"'))]) if word.startswith('--')]
    found.append(words)
  assert [words[1] for words in found] == flags
  folders = [words[0].removeprefix('--train_dir=') for words in found]
  assert len({*folders}) == len(flags)
  for folder in folders:
    (tmp_path / folder).mkdir(parents=True)
    assert folder.startswith('rüns "a"/') and folder.count('/') == 1


@pytest.mark.parametrize(('arguments', 'words'), [
  (['--learning_rat=0.1'], 'learning_rat'),
  (['--learning_rate=0.01,0.1'], '--learning_rate'),
  (['--learning_rate=-1', '--learning_rate=1'], '--learning_rate'),
  (['--optimizer=sgd', '--optimizer=none'], '--optimizer'),
  (['--nesterov=maybe', '--nesterov'], '--nesterov'),
  (['--seed=1', '--seed=01'], '--seed'),
  (['--seed=1'], '--seed'),
  ([], '--learning_rate'),
  (['--seed=1', '--seed=2', '--train_dir=a'], '--runs_dir'),
  (['--seed=1', '--seed=2', '--dataset_dir=a\nb'], '--dataset_dir'),
  (['--seed=1', '--seed=2', '--runs_dir=a\nb'], '--runs_dir'),
  (['--seed=1', '--seed=2', '--runs_dir=gs://a'], '--runs_dir'),
  (['--seed=1', '--seed=2', 'more'], 'more'),
])
def test_mistakes(arguments, words):
  found = _run(*arguments)
  errors = found.stderr.decode()
  assert found.returncode == 1 and not found.stdout
  assert words in errors and 'Traceback' not in errors
