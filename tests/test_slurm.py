"""A job on a Slurm cluster of two nodes, which are namespaces of this machine.

Nothing of it can be seen from outside: the cluster has its own network, processes and
configuration, and ends with the test.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import tensorflow as tf

_ROOT = pathlib.Path(__file__).parents[1]
_SECONDS = 400
_STEPS = 80
_FLAGS = ['--dataset_name=digits', '--model_name=lenet', '--optimizer=momentum',
          f'--max_number_of_steps={_STEPS}', '--log_every_n_steps=1', '--save_interval_steps=1000']
_PROGRAMS = ('munged', 'mungekey', 'slurmctld', 'slurmd', 'sbatch', 'scontrol', 'ip', 'unshare',
             'nsenter')
_SYSTEM_PATH = f'{os.environ.get("PATH", "")}:/usr/sbin:/sbin'

# The cluster's first process. It waits for its end, and takes all others with it.
_START = """
set -e
cd "$1"
ip link set lo up
ip link add bridge0 type bridge
ip addr add 10.0.0.9/24 dev bridge0
ip link set bridge0 up
mount --bind hosts /etc/hosts
mungekey --create --keyfile=munge.key
munged --force --key-file="$1/munge.key" --socket="$1/munge.socket" --pid-file="$1/munge.pid" \
  --log-file="$1/munge.log" --seed-file="$1/munge.seed"
slurmctld -c
for node in 1 2; do
  unshare --net sleep infinity &
  inner=$!
  until [ "$(readlink /proc/$inner/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do
    sleep 0.05
  done
  ip link add port$node type veth peer name eth0 netns $inner
  ip link set port$node master bridge0 up
  nsenter --target $inner --net sh -c "ip link set lo up; ip link set eth0 up
    ip addr add 10.0.0.$node/24 dev eth0; exec slurmd -N n$node"
done
echo started
wait
"""

_CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(10.0.0.9)
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
SlurmctldPort=16817
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool_%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd_%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd_%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
NodeName=n1 NodeHostname={host} NodeAddr=10.0.0.1 Port=17001 CPUs=1
NodeName=n2 NodeHostname={host} NodeAddr=10.0.0.2 Port=17002 CPUs=1
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""

# Runs a command inside the cluster, and returns what it prints.
Inside = Callable[..., str]


def _wait_until(is_true: Callable[[], object], what: str) -> None:
  end = time.monotonic() + _SECONDS
  while not is_true():
    assert time.monotonic() < end, what
    time.sleep(0.2)


@contextlib.contextmanager
def _namespaces(folder: pathlib.Path) -> Iterator[subprocess.Popen]:
  """Starts the cluster's first process in namespaces of its own; ends all of them afterwards."""
  (folder / 'start.sh').write_text(_START, 'utf-8')
  process = subprocess.Popen(
      ['unshare', '--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc',
       'bash', folder / 'start.sh', folder],
      stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
      env=os.environ | {'PATH': _SYSTEM_PATH, 'SLURM_CONF': str(folder / 'slurm.conf')},
      start_new_session=True)
  try:
    yield process
  finally:
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.fixture
def slurm(tmp_path_factory) -> Iterator[Inside]:
  """A cluster of two nodes."""
  missing = [name for name in _PROGRAMS if not shutil.which(name, path=_SYSTEM_PATH)]
  if missing:
    pytest.skip(f'needs Slurm, munge and iproute2: {", ".join(missing)} not found')
  if os.geteuid():
    pytest.skip('needs root, to start a cluster in namespaces')
  if subprocess.run(['unshare', '--net', '--mount', '--pid', '--fork', 'true'], check=False,
                    capture_output=True).returncode:
    pytest.skip('needs the permission to make namespaces; a container has it with --privileged')
  folder = tmp_path_factory.mktemp('slurm')
  (folder / 'state').mkdir()
  (folder / 'hosts').write_text(
      f'127.0.0.1 localhost\n10.0.0.9 {socket.gethostname()}\n10.0.0.1 n1\n10.0.0.2 n2\n')
  (folder / 'slurm.conf').write_text(
      _CONFIGURATION.format(folder=folder, host=socket.gethostname().partition('.')[0]))
  with _namespaces(folder) as process:
    assert process.stdout
    printed = []
    for line in process.stdout:
      printed.append(line)
      if line == 'started\n':
        break
    else:
      pytest.fail(''.join(printed))
    first, = pathlib.Path(f'/proc/{process.pid}/task/{process.pid}/children').read_text().split()

    def inside(*command: str, cwd: pathlib.Path = folder) -> str:
      return subprocess.run(
          ['nsenter', f'--target={first}', '--net', '--mount', '--pid', f'--wd={cwd}', *command],
          check=True, capture_output=True, text=True, timeout=_SECONDS,
          env=os.environ | {'SLURM_CONF': str(folder / 'slurm.conf')}).stdout

    _wait_until(lambda: inside('sinfo', '--noheader', '--states=idle', '--format=%D') == '2\n',
                'the nodes are not idle')
    yield inside


def _state(run: pathlib.Path) -> dict[str, np.ndarray]:
  checkpoint = tf.train.load_checkpoint(tf.train.latest_checkpoint(run))
  return {name: checkpoint.get_tensor(name) for name in checkpoint.get_variable_to_shape_map()}


def _read(file: pathlib.Path) -> str:
  return file.read_text('utf-8') if file.exists() else ''


@pytest.mark.slow
@pytest.mark.thorough
def test_job_is_queued_again_and_finishes(tmp_path, slurm):
  """It ends like a run of one process that was never interrupted."""
  for name in ('scripts', 'train_image_classifier.py'):
    (tmp_path / name).symlink_to(_ROOT / name)
  python = tmp_path / '.venv' / 'bin' / 'python'
  python.parent.mkdir(parents=True)
  python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
  python.chmod(0o755)
  job = slurm('sbatch', '--parsable', '--nodes=2', 'scripts/slurm/train.sbatch', *_FLAGS,
              f'--train_dir={tmp_path / "run"}', '--batch_size=4', cwd=tmp_path).strip()
  whole, *logs = (tmp_path / f'train-{job}{part}.log' for part in ('', '-0', '-1'))

  def field(name: str) -> str:
    return re.findall(rf'\b{name}=(\S+)', slurm('scontrol', 'show', 'job', job))[0]

  _wait_until(lambda: 'step 3/' in _read(logs[0]) or field('JobState') == 'FAILED', _read(whole))
  slurm('scontrol', 'requeue', job)
  _wait_until(lambda: field('JobState') == 'PENDING', 'the job does not end')
  slurm('scontrol', 'update', f'JobId={job}', 'StartTime=now')  # Else two minutes later.
  _wait_until(lambda: field('JobState') in ('COMPLETED', 'FAILED'), 'the job does not finish')

  log, of_other = map(_read, logs)
  assert (field('JobState'), field('ExitCode'), field('Restarts')) == ('COMPLETED', '0:0', '1'), log
  assert _read(whole).count('reaches all others') == 4
  stopped, = re.findall(r'SIGTERM: saved step (\d+) ', log)
  assert re.findall(r'^Resumed .* at step (\d+)\.', log, re.MULTILINE) == [stopped]
  assert 0 < int(stopped) < _STEPS
  assert of_other.count('This is worker 1 (n2:') == 2
  assert not re.findall('train_image|doctor|slurmstepd', slurm('ps', '-eo', 'args'))

  subprocess.run([sys.executable, 'train_image_classifier.py', *_FLAGS, '--batch_size=8',
                  f'--train_dir={tmp_path / "undisturbed"}'], cwd=_ROOT, check=True,
                 capture_output=True)
  found, expected = _state(tmp_path / 'run'), _state(tmp_path / 'undisturbed')
  assert found['global_step'] == _STEPS and found.keys() == expected.keys()
  for name, value in expected.items():
    scale = max(np.abs(value).max(), 1e-12)
    np.testing.assert_allclose(found[name] / scale, value / scale, atol=1e-4, rtol=0,
                               err_msg=name)
