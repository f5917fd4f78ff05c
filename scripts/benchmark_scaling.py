"""Compares the speed of several workers on this machine with the prediction of plan_scaling.py.

    python scripts/benchmark_scaling.py --model_name=mobilenet_v1 --workers=2
    python scripts/benchmark_scaling.py --workers=2 --workers=4 --link_megabits=1000

Each worker is a process with one thread, bound to one core. One process with as many threads as
there are cores is measured as well. The contenders take turns; the medians of the rounds count.
With --link_megabits, each worker is in a network namespace of its own, whose link has that speed;
this needs Linux, `ip` and root. The digits of scikit-learn are trained on, scaled to the size that
the network expects, so that reading does not limit the speed.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import benchmark_results
import plan_scaling
from absl import flags

from slim_zoo.config import command_line
from slim_zoo.training import scaling

FLAGS = flags.FLAGS

_PREFIX = 'zoo'  # Of the names of namespaces and links.
_LIMIT = 600  # Seconds for one measurement.


def define_flags() -> None:
  """Defines the flags of this script."""
  flags.DEFINE_string('model_name', 'mobilenet_v1', 'Network.')
  flags.DEFINE_integer('batch_size', 8, 'Batch size of each worker.', lower_bound=1)
  flags.DEFINE_integer('train_image_size', None, 'Image size; by default that of the network.')
  flags.DEFINE_multi_integer('workers', [1, 2], 'Number of workers; may be given several times.',
                             lower_bound=1)
  flags.DEFINE_integer('link_megabits', None, 'Speed of the link of each worker, in megabits/s.',
                       lower_bound=1)
  flags.DEFINE_integer('rounds', 3, 'Rounds, in which the contenders take turns.', lower_bound=1)
  benchmark_results.define_flags(__file__)


def _run(*command: str) -> None:
  found = subprocess.run(command, check=False, capture_output=True, text=True)
  if found.returncode:
    raise ValueError(f'--link_megabits: expected Linux, iproute2 and root, to limit links. '
                     f'Received: {" ".join(command)}: {found.stderr.strip()}')


@contextlib.contextmanager
def namespaces(count: int, megabits: int) -> Iterator[list[str]]:
  """Makes network namespaces with links of a limited speed; yields their addresses."""
  def ip(*words: str) -> None:
    _run('ip', *words)

  addresses = [f'10.78.0.{index + 1}' for index in range(count)]
  with contextlib.ExitStack() as stack:
    bridge = f'{_PREFIX}-bridge'
    ip('link', 'add', bridge, 'type', 'bridge')
    stack.callback(ip, 'link', 'del', bridge)
    ip('link', 'set', bridge, 'up')
    for index, address in enumerate(addresses):
      name = f'{_PREFIX}{index}'
      ip('netns', 'add', name)
      stack.callback(ip, 'netns', 'del', name)
      ip('link', 'add', name, 'type', 'veth', 'peer', 'name', 'inside', 'netns', name)
      stack.callback(ip, 'link', 'del', name)
      ip('link', 'set', name, 'master', bridge, 'up')
      ip('-n', name, 'addr', 'add', f'{address}/24', 'dev', 'inside')
      ip('-n', name, 'link', 'set', 'inside', 'up')
      ip('-n', name, 'link', 'set', 'lo', 'up')
      _run('tc', '-n', name, 'qdisc', 'add', 'dev', 'inside', 'root', 'tbf', 'rate',
           f'{megabits}mbit', 'burst', '256kb', 'latency', '50ms')
    yield addresses


def seconds_per_step(workers: int, threads: int, *, model_name: str, batch_size: int,
                     addresses: Sequence[str] | None) -> float:
  """Measures a run of that many workers with that many threads each, on cores of their own."""
  command = [sys.executable, str(benchmark_results.ROOT / 'train_image_classifier.py'), '--dry_run',
             '--dataset_name=digits', f'--model_name={model_name}', '--optimizer=momentum',
             f'--batch_size={batch_size}']
  if FLAGS.train_image_size and model_name == FLAGS.model_name:
    command.append(f'--train_image_size={FLAGS.train_image_size}')
  addresses = addresses if workers > 1 else None
  hosts = (addresses or ['127.0.0.1'] * workers)[:workers]
  with contextlib.ExitStack() as stack:
    # Namespaces have all ports; here, free ones are found.
    ports = [2222] * workers if addresses else _free_ports(workers)
    cluster = {'worker': [f'{host}:{port}' for host, port in zip(hosts, ports, strict=True)]}
    processes = []
    folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
    for index in range(workers):
      cores = range(threads) if threads > 1 else [index % (os.cpu_count() or 1)]
      prefix = ['taskset', '-c', ','.join(map(str, cores))]
      if addresses:
        prefix = ['nsenter', f'--net=/var/run/netns/{_PREFIX}{index}', *prefix]
      environment = dict(os.environ, TF_CPP_MIN_LOG_LEVEL='3')
      if workers > 1:
        environment['TF_CONFIG'] = json.dumps(
            {'cluster': cluster, 'task': {'type': 'worker', 'index': index}})
      log = stack.enter_context(open(folder / f'{index}', 'w', encoding='utf-8'))
      process = subprocess.Popen([*prefix, *command, f'--train_dir={folder / "run"}'],
                                 env=environment, stdout=log, stderr=subprocess.STDOUT)
      stack.callback(process.kill)
      processes.append(process)
    try:
      codes = [process.wait(_LIMIT) for process in processes]
    except subprocess.TimeoutExpired as error:
      raise ValueError(f'Expected a dry run in {_LIMIT} s. Received: none. Use a smaller network '
                       'or --batch_size.') from error
    text = (folder / '0').read_text('utf-8')
  found = re.search(r'^([\d.e-]+) s per step', text, re.MULTILINE)
  if any(codes) or not found:
    raise ValueError(f'Expected a dry run. Received: exit codes {codes}, and {text[-2000:]}')
  return float(found.group(1))


def _free_ports(count: int) -> list[int]:
  with contextlib.ExitStack() as stack:
    sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
    for one in sockets:
      one.bind(('127.0.0.1', 0))
    return [one.getsockname()[1] for one in sockets]


def measure(contenders: Sequence[tuple[int, int]], *, model_name: str, batch_size: int,
            addresses: Sequence[str] | None) -> dict[tuple[int, int], float]:
  """Returns the median seconds per step of each (workers, threads)."""
  seconds: dict[tuple[int, int], list[float]] = {contender: [] for contender in contenders}
  for _ in range(FLAGS.rounds):
    for contender, found in seconds.items():
      found.append(seconds_per_step(*contender, model_name=model_name, batch_size=batch_size,
                                    addresses=addresses))
      print(f'{model_name}: {contender[0]} worker(s) with {contender[1]} thread(s), '
            f'{found[-1]:.4g} s per step', flush=True)
  return {contender: statistics.median(found) for contender, found in seconds.items()}


def predicted(workers: int, alone: float, link: float) -> scaling.Plan:
  """Predicts a step of workers that share the cores of this machine."""
  crowding = max(1.0, workers / (os.cpu_count() or 1))
  work = _work(FLAGS.model_name, FLAGS.batch_size, alone * crowding)
  return scaling.plan(work, scaling.Cluster(link=link), workers)


def _work(model_name: str, batch_size: int, seconds: float) -> scaling.Work:
  return plan_scaling.work(model_name, batch_size / seconds, batch_size=batch_size,
                           optimizer='momentum', num_classes=10)


def loopback_speed() -> float:
  """Measures how fast two workers exchange gradients without a link: bytes per second."""
  pair = measure([(1, 1), (2, 1)], model_name='lenet', batch_size=1, addresses=None)
  sent = scaling.plan(_work('lenet', 1, pair[1, 1]), scaling.Cluster(), 2).exchanged_bytes
  return sent / max(pair[2, 1] - pair[1, 1], 1e-9)


def main() -> int:
  """Measures, and prints the speeds beside the predicted ones."""
  import tabulate
  numbers = FLAGS.workers
  with contextlib.ExitStack() as stack:
    addresses, link = None, FLAGS.link_megabits and FLAGS.link_megabits * 1e6 / 8
    if link:
      addresses = stack.enter_context(namespaces(max(numbers), FLAGS.link_megabits))
    else:
      link = loopback_speed()
      print(f'Two workers of this machine exchange {link / 1e6:.0f} MB/s.')
    contenders = dict.fromkeys([(1, os.cpu_count() or 1), (1, 1), *((n, 1) for n in numbers)])
    medians = measure(list(contenders), model_name=FLAGS.model_name, batch_size=FLAGS.batch_size,
                      addresses=addresses)
  rows = []
  for (workers, threads), seconds in medians.items():
    plan = predicted(workers, medians[1, threads], link)
    rows.append({
        'network': FLAGS.model_name, 'batch_size': FLAGS.batch_size, 'workers': workers,
        'threads': threads, 'link_megabits': round(link * 8 / 1e6),
        'milliseconds': round(seconds * 1e3, 1),
        'predicted_milliseconds': round(plan.step * 1e3, 1),
        'images_per_second': round(workers * FLAGS.batch_size / seconds, 1),
        'predicted_images_per_second': round(plan.images_per_second, 1)})
  print(tabulate.tabulate(rows, 'keys', 'simple'))
  if FLAGS.results:
    benchmark_results.append(pathlib.Path(FLAGS.results), [
        {'commit': benchmark_results.commit(), **row} for row in rows])
  return 0


if __name__ == '__main__':
  define_flags()
  command_line.run(main)
