"""The memory available to a process: the machine's, or the limit of its control groups."""

from __future__ import annotations

import os

import pytest

from files import memory

_V2 = '0::/user.slice/job\n'
_V1 = '11:cpu,cpuacct:/batch\n4:memory:/batch/job\n0::/batch\n'


@pytest.mark.parametrize(('groups', 'limits', 'expected'), [
  (_V2, {'memory.max': 9000}, 9000),  # As a container sees itself.
  (_V2, {'user.slice/job/memory.max': 5000}, 5000),
  (_V2, {'user.slice/memory.max': 4000, 'user.slice/job/memory.max': 'max'}, 4000),
  (_V2, {'user.slice/memory.max': 4000, 'user.slice/job/memory.max': 3000}, 3000),
  (_V2, {'other/memory.max': 4000, 'memory/memory.limit_in_bytes': 4000}, None),
  ('0::/\n', {'memory.max': 7000}, 7000),
  (_V1, {'memory/memory.limit_in_bytes': 6000}, 6000),
  (_V1, {'memory/batch/job/memory.limit_in_bytes': 2**63 - 4096,
         'memory/batch/memory.limit_in_bytes': 5000}, 5000),
  (_V1, {'memory/batch/job/memory.limit_in_bytes': 2**63 - 4096}, None),
  (_V2, {'memory.max': 'max'}, None),
  (_V2, {}, None),
  (None, {}, None),
])
def test_minimum_of_machine_and_control_groups(tmp_path, groups, limits, expected):
  if groups is not None:
    (tmp_path / 'proc/self').mkdir(parents=True)
    (tmp_path / 'proc/self/cgroup').write_text(groups)
  for name, limit in limits.items():
    path = tmp_path / 'sys/fs/cgroup' / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'{limit}\n')
  machine = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
  assert memory.available(tmp_path) == (expected or machine)


def test_memory_of_this_process_is_positive():
  assert 2**20 < memory.available() <= os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
