r"""Predicts the speed and the cost of a training run on many machines.

    python scripts/plan_scaling.py --model_name=resnet_v1_50 --batch_size=64 \
      --images_per_second=350 --num_machines=1 --num_machines=8 --num_machines=125 \
      --num_clones=8 --link_gigabits=25 --gpu_link_gigabits=400 --price=20

Measure --images_per_second on one GPU first: train_image_classifier.py prints it with --dry_run.
docs/scaling.md says how the prediction is made, and how well it agreed with measurements. What is
not counted: machines that are slower than others, validation, and waiting for machines.
"""

from __future__ import annotations

import math
import os
import pathlib
import sys

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')  # Before TensorFlow is imported.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import flags

from slim_zoo.config import command_line
from slim_zoo.training import scaling

FLAGS = flags.FLAGS


def define_flags() -> None:
  """Defines the flags of this script; the defaults are those of ImageNet."""
  flags.DEFINE_string('model_name', 'resnet_v1_50', 'Network.')
  flags.DEFINE_integer('num_classes', None, "Number of classes; the network's own by default.",
                       lower_bound=1)
  flags.DEFINE_string('optimizer', 'momentum', 'Optimizer.')
  flags.DEFINE_bool('clips_gradients', False,
                    'Whether gradients are clipped, for which they are exchanged a second time.')
  flags.DEFINE_integer('batch_size', 32, 'Batch size of each replica.', lower_bound=1)
  flags.DEFINE_float('images_per_second', None, 'Training speed of one replica alone.')
  flags.DEFINE_multi_integer('num_machines', [1, 2, 4, 8],
                             'Number of machines; given several times, these are compared.',
                             lower_bound=1)
  flags.DEFINE_integer('num_clones', 1, 'Replicas, that is GPUs, of each machine.', lower_bound=1)
  flags.DEFINE_float('link_gigabits', None,
                     "Speed of a machine's network, in gigabits/s; 0.8 of the nominal one.")
  flags.DEFINE_float('gpu_link_gigabits', None,
                     'Speed between the GPUs of a machine, in gigabits/s in each direction.')
  flags.DEFINE_float('latency_microseconds', 50.0, 'Time from one machine to the next.',
                     lower_bound=0)
  flags.DEFINE_float('storage_megabytes', None,
                     'Speed of the file system that all machines share, in megabytes/s; by default '
                     'it does not limit the run.')
  flags.DEFINE_float('machine_images_per_second', None,
                     'Images that one machine can read, decode and preprocess per second '
                     '(scripts/benchmark.py --modes=input); by default they do not limit the run.')
  # ImageNet's training archive has 147,897,477,120 bytes.
  flags.DEFINE_float('image_kilobytes', 115.0, 'Mean size of an image file.', lower_bound=0)
  flags.DEFINE_integer('num_examples', 1_281_167, 'Examples of the training split.', lower_bound=1)
  flags.DEFINE_float('num_epochs', 90.0, 'Epochs.', lower_bound=0)
  flags.DEFINE_float('price', 0.0, 'Price of one machine for an hour, in any currency.',
                     lower_bound=0)


def main() -> int:
  """Prints the plan for each number of machines."""
  machines = FLAGS.num_machines
  cluster = scaling.Cluster(
      replicas=FLAGS.num_clones,
      link=_needed('link_gigabits', max(machines) > 1) * 1e9 / 8,
      inner_link=_needed('gpu_link_gigabits', FLAGS.num_clones > 1) * 1e9 / 8,
      latency=FLAGS.latency_microseconds / 1e6, storage=_needed('storage_megabytes', False) * 1e6,
      reading=_needed('machine_images_per_second', False), price=FLAGS.price)
  of_run = work(
      FLAGS.model_name, _needed('images_per_second', True), batch_size=FLAGS.batch_size,
      optimizer=FLAGS.optimizer, num_classes=FLAGS.num_classes,
      exchanges=2 if FLAGS.clips_gradients else 1, image_bytes=FLAGS.image_kilobytes * 1e3,
      num_images=FLAGS.num_examples * FLAGS.num_epochs)
  plans = [scaling.plan(of_run, cluster, number) for number in machines]
  first = plans[0]
  print(f'{FLAGS.model_name}: {of_run.trainable:,} trained parameters, checkpoints of '
        f'{first.checkpoint_bytes / 1e6:,.0f} MB'
        + (f', written in {first.checkpoint:.1f} s' if FLAGS.storage_megabytes else '') + '.')
  print(_table(machines, plans))
  return 0


def _needed(name: str, is_needed: bool) -> float:
  """Returns a speed; infinity if it is neither given nor needed."""
  value = getattr(FLAGS, name)
  if value is None and not is_needed:
    return math.inf
  if value is None or not 0 < value < math.inf:
    raise ValueError(f'--{name}: expected a measured or published number above 0. Received: '
                     f'{"nothing" if value is None else value}.')
  return value


def work(model_name: str, images_per_second: float, *, batch_size: int, optimizer: str,
         num_classes: int | None = None, exchanges: int = 1, image_bytes: float = 0.0,
         num_images: float = 0.0) -> scaling.Work:
  """Counts what a network has to exchange and to save; the other arguments as in `scaling.Work`."""
  from nets import nets_factory  # Imports TensorFlow.
  from slim_zoo.training import optimizers
  if optimizer not in optimizers.OPTIMIZERS:
    raise ValueError(f'--optimizer: expected one of {", ".join(sorted(optimizers.OPTIMIZERS))}. '
                     f'Received: {optimizer}.')
  net = nets_factory.get_net(model_name)
  network = nets_factory.build_network(
      model_name, image_shape=[net.image_size, net.image_size, net.channels],
      num_classes=num_classes or net.classes, is_training=True, is_restored=True)
  sizes = {name: math.prod(variable.shape) for name, variable in network.variables.items()}
  trainable = sum(sizes[name] for name in network.trainable)
  return scaling.Work(
      trainable=trainable, others=sum(sizes.values()) - trainable,
      slots=len(optimizers.OPTIMIZERS[optimizer].slots), exchanges=exchanges,
      batch_size=batch_size, images_per_second=images_per_second, image_bytes=image_bytes,
      num_images=num_images)


def _table(machines: list[int], plans: list[scaling.Plan]) -> str:
  import tabulate
  headers = ['machines', 'replicas', 'global batch', 'exchanged MB', 'compute ms', 'exchange ms',
             'step ms', 'images/s', 'efficiency', 'read MB/s', 'limited by', 'hours']
  rows = [[number, one.replicas, one.batch_size, f'{one.exchanged_bytes / 1e6:,.1f}',
           f'{one.compute * 1e3:,.1f}', f'{one.exchange * 1e3:,.1f}', f'{one.step * 1e3:,.1f}',
           f'{one.images_per_second:,.0f}', f'{one.efficiency:.0%}',
           f'{one.read_bytes / 1e6:,.0f}', one.limit, f'{one.total / 3600:,.1f}']
          for number, one in zip(machines, plans, strict=True)]
  if FLAGS.price:
    headers.append('cost')
    rows = [[*row, f'{one.cost:,.0f}'] for row, one in zip(rows, plans, strict=True)]
  return tabulate.tabulate(rows, headers, 'simple', disable_numparse=True,
                           colalign=['right' if name != 'limited by' else 'left'
                                     for name in headers])


if __name__ == '__main__':
  define_flags()
  command_line.run(main)
