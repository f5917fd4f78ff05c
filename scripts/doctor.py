"""Says what this machine has for a training run, and what is wrong with it.

    python scripts/doctor.py --dataset_dir=photos --train_dir=run
    srun python scripts/doctor.py --dataset_dir=/data/photos --train_dir=/shared/run

It looks at the GPUs and why TensorFlow does not find them, the memory, the speed of the data's
disk, the directory of the run and, if TF_CONFIG or a Slurm step has several workers, whether they
reach each other; then it must run on all of them at the same time. The exit code is 1 if something
is wrong.
"""

from __future__ import annotations

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import flags

from slim_zoo.config import command_line
from slim_zoo.config import option as options

FLAGS = flags.FLAGS


def define_flags() -> None:
  """Defines the flags of this program."""
  options.define_path('dataset_dir', None, 'Directory containing the dataset.')
  options.define_path('train_dir', None, 'Directory for checkpoints and logs.', is_written=True)


def main() -> int:
  """Prints what is found."""
  from slim_zoo.training import checkup  # Imports TensorFlow.
  code = 0
  for finding in checkup.look(dataset_dir=FLAGS.dataset_dir, train_dir=FLAGS.train_dir):
    print(f'{"WRONG" if finding.is_wrong else "ok":5} {finding.subject}: {finding.text}.',
          flush=True)
    code = max(code, int(finding.is_wrong))
  return code


if __name__ == '__main__':
  define_flags()
  command_line.run(main)
