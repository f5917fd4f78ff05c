"""Runs a classic experiment of transfer learning, and adds a row with the results.

    python scripts/run_experiment.py --experiment=mobilenet_v1_on_flowers --data=photos \
      --weights=mobilenet_v1_1.0_224.ckpt

`scripts/experiments/catalogue.py` lists the experiments: the commands of each, its data and
weights, and the published result. The commands run one after the other, again for every seed,
starting with an empty cache of features, and print as usual. A row is added to
`results/experiments.csv`: the accuracies after the last validation and at the best one, one per
seed, with their mean and standard deviation (n - 1), and the seconds that all commands took,
imports included. The best is chosen on the examples that it is measured on; the last is not chosen.

If data or weights are not available, --missing="GTSRB's train.p" runs nothing, and adds a row that
says so.
"""

from __future__ import annotations

import csv
import dataclasses
import datetime
import os
import pathlib
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

import benchmark_results
from absl import flags

sys.path.insert(0, str(benchmark_results.ROOT))

from files import folders
from scripts.experiments.catalogue import EXPERIMENTS, Experiment
from slim_zoo.config import option as options

FLAGS = flags.FLAGS

_COUNT = re.compile(r'on ([\d,]+) examples')


@dataclasses.dataclass(frozen=True)
class Trained:
  """The result of one seed.

  Attributes:
    last, best: top-1 after the last validation, and at the best one.
    examples: number of examples that it was measured on, as the last command prints.
    seconds: how long its commands took.
  """
  last: float
  best: float
  examples: str
  seconds: float


def define_flags() -> None:
  """Defines the flags: only where this is the program, for its names are those of others."""
  flags.DEFINE_enum('experiment', None, sorted(EXPERIMENTS), 'What to run.')
  options.define_path('data', None, 'The data; see the catalogue.')
  options.define_path('weights', None, 'The weights; see the catalogue.')
  flags.DEFINE_enum('checkpoint_channel_order', None, ['rgb', 'bgr'], 'As of the trainer.')
  flags.DEFINE_string('missing', None,
                      'What is not available; nothing is run, and the row says so.')
  benchmark_results.define_flags('experiments')


def words_of(command: str, weights: Sequence[str], **places: object) -> list[str]:
  """Returns the words of a command, its program first.

  Args:
    command: see the catalogue.
    weights: the flags that stand for `{weights}`.
    places: what stands for the other names in braces.
  """
  words = []
  for word in shlex.split(command):
    words += weights if word == '{weights}' else [word.format(**places)]
  return words


def run_command(words: Sequence[str], cache: pathlib.Path) -> tuple[str, float]:
  """Runs a program of this project.

  Returns:
    What it printed, which is shown as well, and its seconds.

  Raises:
    ChildProcessError: if it fails.
  """
  print('$ python ' + shlex.join(words), flush=True)
  start = time.monotonic()
  environment = {**os.environ, 'XDG_CACHE_HOME': str(cache), 'PYTHONUNBUFFERED': '1'}
  printed = []
  with subprocess.Popen([sys.executable, *words], cwd=benchmark_results.ROOT, text=True,
                        stdout=subprocess.PIPE, env=environment) as process:
    for line in process.stdout:
      print(line, end='', flush=True)
      printed.append(line)
  if process.returncode:
    raise ChildProcessError(f'{words[0]}: expected it to succeed. Received: code '
                            f'{process.returncode}; see what it said.')
  return ''.join(printed), time.monotonic() - start


def run(experiment: Experiment, weights: Sequence[str], data: str, *,
        work: pathlib.Path) -> tuple[float, list[Trained]]:
  """Runs an experiment.

  Args:
    experiment: what to run.
    weights: the flags that name the weights.
    data: the data.
    work: an empty folder.

  Returns:
    The seconds of what comes before all seeds, and what each seed gave.
  """
  cache = work / 'cache'
  # Features are computed anew; published weights that are there already are taken.
  fetched = folders.cache_folder() / 'weights'
  fetched.mkdir(parents=True, exist_ok=True)
  (cache / 'slim_zoo').mkdir(parents=True)
  (cache / 'slim_zoo' / 'weights').symlink_to(fetched)

  def run_all(commands: Sequence[str], run_dir: pathlib.Path, seed: int) -> tuple[str, float]:
    printed, seconds = '', 0.0
    for command in commands:
      printed, took = run_command(
          words_of(command, weights, data=data, work=work, run=run_dir, seed=seed), cache)
      seconds += took
    return printed, seconds

  before = run_all(experiment.prepare, work, 0)[1]
  found = []
  for seed in experiment.seeds:
    run_dir = work / f'seed_{seed}'
    printed, seconds = run_all(experiment.commands, run_dir, seed)
    last, best = read_top_1(pathlib.Path(experiment.measured.format(run=run_dir)))
    found.append(Trained(last, best, (_COUNT.findall(printed) or [''])[-1], seconds))
  return before, found


def read_top_1(folder: pathlib.Path) -> tuple[float, float]:
  """Reads the last and the best top-1 of a run's validations."""
  with open(folder / 'metrics.csv', newline='', encoding='utf-8') as file:
    top_1 = [float(row['validation_top_1']) for row in csv.DictReader(file)
             if row.get('validation_top_1')]
  return top_1[-1], max(top_1)


def results(found: Sequence[Trained], before: float) -> dict[str, object]:
  """Makes the columns of the results; empty ones if nothing was run."""
  columns = {'tested_on': found[0].examples if found else ''}
  for name in ('last', 'best'):
    values = [getattr(trained, name) for trained in found]
    columns |= {name: ' '.join(f'{value:.4f}' for value in values),
                f'{name}_mean': f'{statistics.mean(values):.4f}' if found else '',
                f'{name}_deviation': f'{statistics.stdev(values):.4f}' if len(found) > 1 else ''}
  seconds = before + sum(trained.seconds for trained in found)
  return {**columns, 'seconds': f'{seconds:.0f}' if found else ''}


def main() -> None:
  """Runs the experiment, and adds the row."""
  name = FLAGS.experiment
  if not name or not (FLAGS.missing or (FLAGS.data and FLAGS.weights)):
    known = '\n'.join(f'  {key}: {value.title}; data: {value.data}; weights: {value.weights}'
                      for key, value in EXPERIMENTS.items())
    raise ValueError('Expected --experiment, --data and --weights, or --missing. Received: '
                     f'{name or "no experiment"}, {FLAGS.data or "no data"} and '
                     f'{FLAGS.weights or "no weights"}. There are:\n{known}')
  experiment = EXPERIMENTS[name]
  is_name = not FLAGS.weights or FLAGS.weights.startswith('zoo:')
  weights = [f'--checkpoint_path={FLAGS.weights if is_name else os.path.abspath(FLAGS.weights)}']
  command = f'python scripts/run_experiment.py --experiment={name} --data=… --weights=…'
  if FLAGS.checkpoint_channel_order:
    weights.append(f'--checkpoint_channel_order={FLAGS.checkpoint_channel_order}')
    command += f' {weights[-1]}'
  row = {'date': datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds'),
         'commit': benchmark_results.commit(), 'processor': benchmark_results.processor(),
         'cores': len(os.sched_getaffinity(0)), 'experiment': name, 'what': experiment.title,
         'command': command, 'data': experiment.data, 'weights': experiment.weights,
         'seeds': ' '.join(map(str, experiment.seeds))}
  before, found = 0.0, []
  if not FLAGS.missing:
    with tempfile.TemporaryDirectory() as work:
      before, found = run(experiment, weights, os.path.abspath(FLAGS.data),
                          work=pathlib.Path(work))
  row |= {**results(found, before), 'published': experiment.published,
          'missing': FLAGS.missing or ''}
  print('\n'.join(f'{key}: {value}' for key, value in row.items() if value))
  if FLAGS.results:
    benchmark_results.append(pathlib.Path(FLAGS.results), [row])


if __name__ == '__main__':
  define_flags()
  benchmark_results.run(main)
