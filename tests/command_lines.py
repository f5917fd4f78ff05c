"""Reading the documents, and parsing the command lines in them like the programs."""

from __future__ import annotations

import functools
import importlib.util
import pathlib
import re
import shlex
import sys

import pytest
from absl import flags

from slim_zoo.config import command_line, flag_values

ROOT = pathlib.Path(__file__).resolve().parents[1]
TRAIN, EVAL = 'train_image_classifier.py', 'eval_image_classifier.py'
PROGRAMS = (TRAIN, EVAL, 'compare_networks.py', 'extract_features.py', 'train_on_features.py',
            'predict_image.py', 'export_model.py', 'convert_weights.py',
            'download_and_convert_data.py',
            'inspect_weights.py', 'list_networks.py', 'scripts/benchmark.py',
            'scripts/average_checkpoints.py', 'scripts/benchmark_fine_tuning.py',
            'scripts/benchmark_scaling.py', 'scripts/benchmark_transfer_learning.py',
            'scripts/doctor.py',
            'scripts/draw_augmentations.py',
            'scripts/experiments/cifar10_subset.py',
            'scripts/experiments/split_features.py', 'scripts/experiments/write_list.py',
            'scripts/list_runs.py',
            'scripts/mutate_images.py', 'scripts/mutate_weights.py', 'scripts/plan_scaling.py',
            'scripts/run_experiment.py',
            'scripts/validate_weights.py', 'scripts/write_sweep.py')
# Programs with positional arguments: names of images, of checkpoints, or of a directory.
TAKES_ARGUMENTS = ('predict_image.py', 'scripts/average_checkpoints.py', 'scripts/list_runs.py')
# Commands in the documents that don't belong to this project.
FOREIGN = {'export', 'source', 'tensorboard', 'uv', 'echo', 'if', 'fi'}
# Options of uv, Slurm, Docker and Apptainer, mentioned outside a command line.
FOREIGN_OPTIONS = {'signal', 'upgrade', 'env', 'gpus', 'init', 'network', 'nv', 'pwd', 'shm-size',
                   'stop-timeout', 'user'}


def read(name: str) -> str:
  return (ROOT / name).read_text(encoding='utf-8')


def blocks(text: str, language: str) -> list[str]:
  return re.findall(rf'^```{language}\n(.*?)^```', text, re.MULTILINE | re.DOTALL)


def prose(text: str) -> str:
  """A document without its code blocks and comments."""
  return re.sub(r'^```.*?^```|<!--.*?-->', '', text, flags=re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[list[str]]:
  """The command lines of a shell script, each as its words, without `|| …` and assignments."""
  lines = text.replace('\\\n', ' ').splitlines()
  split = [shlex.split(line.split('||')[0], comments=True) for line in lines]
  return [words for words in split if words and not re.fullmatch(r'\w+=\w*', words[0])]


def section(name: str, title: str) -> str:
  """A section of a document, without its title."""
  return re.search(rf'^## {title}\n(.*?)(?=^## |\Z)', read(name), re.MULTILINE | re.DOTALL).group(1)


@functools.cache
def defined_flags(program: str) -> flags.FlagValues:
  """The flags that a program defines, separate from those of this process."""
  values = flags.FlagValues()
  spec = importlib.util.spec_from_file_location(f'_{pathlib.Path(program).stem}', ROOT / program)
  module = importlib.util.module_from_spec(spec)
  with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(ROOT / 'scripts'))
    patch.setitem(sys.modules, spec.name, module)  # Where dataclasses look for it.
    patch.setattr(flags, 'FLAGS', values)
    for define in [name for name in dir(flags) if name.startswith('DEFINE_')]:
      patch.setattr(flags, define, functools.partial(getattr(flags, define), flag_values=values))
    spec.loader.exec_module(module)
    if hasattr(module, 'define_flags'):
      module.define_flags()
  if hasattr(module, 'OPTIONS'):
    flag_values.define(module.OPTIONS, values)
    command_line.define_retired(getattr(module, 'RETIRED', {}), values)
  return values


def parse(program: str, arguments: list[str]) -> flags.FlagValues:
  """Parses a command line as the program does; an unknown flag or a wrong value is an error."""
  values = defined_flags(program)
  values.unparse_flags()
  for name in values:
    values[name].unparse()
  values.set_gnu_getopt(program in TAKES_ARGUMENTS)
  rest = values([program, *arguments])[1:]
  assert rest == [] or program in TAKES_ARGUMENTS, f'{program} takes flags only'
  return values


def options_of(script: pathlib.Path) -> set[str]:
  """The options that a shell script checks for, in `case` or `[[ … == --all ]]`."""
  return set(re.findall(r'(?:==|^|\|) *--([a-z-]+)(?=\)| \]\]| \|)', script.read_text(),
                        re.MULTILINE))


def check_command(words: list[str]) -> None:
  """Checks that a command names a program of this project, with valid flags and values."""
  if words[-2:-1] in (['<'], ['>']):
    words = words[:-2]
  if words[:2] == ['xargs', '-L1']:
    words = words[2:]
  if words[:2] == ['docker', 'build']:
    extras = {word.partition('=--')[2] for word in words if '=EXTRAS=' in word}
    assert extras <= options_of(ROOT / 'scripts/setup_env.sh')
    return
  if words[:2] == ['docker', 'run']:
    words = words[words.index('python'):]
  if words == ['python', 'scripts/lock.py']:
    assert (ROOT / words[1]).is_file()
  elif words[:3] == ['python', '-m', 'pytest']:
    for path in [word for word in words[3:] if word.startswith('tests/')]:
      assert (ROOT / path.partition('::')[0]).exists(), path
  elif words[0] == 'python':
    program, arguments = words[1], words[2:]
    assert program in PROGRAMS
    for argument in [a for a in arguments if a.startswith('--flagfile=')]:
      assert (ROOT / argument.partition('=')[2]).is_file(), argument
    parse(program, [re.sub('^--flagfile=', f'--flagfile={ROOT}/', a) for a in arguments])
  elif words[0] == 'sbatch':
    (script,) = [place for place, word in enumerate(words) if word.endswith('.sbatch')]
    assert (ROOT / words[script]).is_file()
    parse('train_image_classifier.py', [word for word in words[script + 1:]
                                        if not word.endswith('.txt')])
  elif words[0].startswith('scripts/'):
    assert (ROOT / words[0]).stat().st_mode & 0o100, f'{words[0]} cannot be executed'
    options = {word[2:] for word in words[1:] if word.startswith('--')}
    assert options <= options_of(ROOT / words[0])
    for path in [word for word in words[1:] if word.startswith('tests/')]:
      assert (ROOT / path).exists()
  else:
    assert words[0] in FOREIGN
