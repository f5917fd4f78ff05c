"""Phases: the flags that each of them sees, and where they go on."""

from __future__ import annotations

import functools
import pathlib

import pytest
from absl import flags

import phases


class Program:
  """A script with flags of its own; its `main` notes the flags that are set, and saves."""

  def __init__(self, monkeypatch, folder: pathlib.Path):
    self.folder = folder
    self.codes = iter(())
    self.saves = True
    self.seen = []
    self._flags = flags.FlagValues()
    monkeypatch.setattr(phases, 'FLAGS', self._flags)
    with monkeypatch.context() as patch:
      patch.setattr(flags, 'DEFINE_string',
                    functools.partial(flags.DEFINE_string, flag_values=self._flags))
      phases.define_flag()
    for name in ('train_dir', 'checkpoint_path', 'checkpoint_exclude_scopes', 'trainable_scopes'):
      flags.DEFINE_string(name, None, 'Text.', flag_values=self._flags)
    for name in ('ignore_missing_vars', 'dry_run', 'use_grayscale'):
      flags.DEFINE_bool(name, False, 'Switch.', flag_values=self._flags)
    flags.DEFINE_float('learning_rate', 0.01, 'Rate.', lower_bound=0, flag_values=self._flags)
    flags.DEFINE_float('epochs', None, 'Epochs.', flag_values=self._flags)
    for name in ('max_number_of_steps', 'early_stopping_patience'):
      flags.DEFINE_integer(name, None, 'Number.', flag_values=self._flags)

  def run(self, *arguments: str):
    """Returns the exit code, and the flags that were set in each call of `main`."""
    self._flags.unparse_flags()
    for name in self._flags:
      self._flags[name].unparse()
    self._flags(['program', f'--train_dir={self.folder}', *arguments])
    before = [(name, self._flags[name].value, self._flags[name].present) for name in self._flags]
    self.seen = seen = []

    def main():
      seen.append({name: self._flags[name].value for name in self._flags
                   if self._flags[name].present and name != 'phases'})
      if self.saves:
        made = pathlib.Path(self._flags.train_dir)
        made.mkdir(exist_ok=True)
        (made / 'model.ckpt-1.index').touch()
      return next(self.codes, None)

    try:
      return phases.run(main, rivals=[('epochs', 'max_number_of_steps')]), seen
    finally:
      assert before == [(name, self._flags[name].value, self._flags[name].present)
                        for name in self._flags]


@pytest.fixture
def program(monkeypatch, tmp_path):
  return Program(monkeypatch, tmp_path)


def test_without_phases_main_runs_once(program):
  program.codes = iter([3])
  assert program.run('--epochs=2') == (3, [{'train_dir': str(program.folder), 'epochs': 2}])
  assert program.run() == (0, [{'train_dir': str(program.folder)}])


def test_the_flags_of_each_phase(program, capsys):
  code, seen = program.run(
    '--checkpoint_path=weights.ckpt', '--checkpoint_exclude_scopes=Logits', '--learning_rate=0.5',
    '--ignore_missing_vars', '--max_number_of_steps=7',
    '--phases=trainable_scopes="a b,c;d" epochs=2 learning_rate=0.01; --use_grayscale '
    'learning_rate=1e-4;epochs=1 noignore_missing_vars checkpoint_exclude_scopes=x')
  one, two, three = (str(program.folder / f'phase_{number}') for number in (1, 2, 3))
  assert code == 0
  assert seen == [
    {'train_dir': one, 'checkpoint_path': 'weights.ckpt', 'checkpoint_exclude_scopes': 'Logits',
     'learning_rate': 0.01, 'ignore_missing_vars': True, 'trainable_scopes': 'a b,c;d',
     'epochs': 2},
    {'train_dir': two, 'checkpoint_path': one, 'learning_rate': 1e-4, 'use_grayscale': True,
     'max_number_of_steps': 7},
    {'train_dir': three, 'checkpoint_path': two, 'checkpoint_exclude_scopes': 'x',
     'learning_rate': 0.5, 'ignore_missing_vars': False, 'epochs': 1},
  ]
  out = capsys.readouterr().out.splitlines()
  assert out[0] == "Phase 1 of 3: 'trainable_scopes=a b,c;d' epochs=2 learning_rate=0.01"
  assert out[-1] == f'All 3 phases are finished. The last one lies in {three}.'


def test_a_phase_may_start_from_elsewhere(program):
  _, seen = program.run('--epochs=1', '--phases=epochs=2;checkpoint_path=other/best')
  assert seen[1]['checkpoint_path'] == 'other/best'


@pytest.mark.parametrize('end', ['error', 130, 143])
def test_none_follows_a_phase_that_was_stopped(program, end):
  def codes():
    yield 0
    if end == 'error':
      raise ValueError('The loss became nan.')
    yield end

  program.codes = codes()
  arguments = ['--epochs=1', '--phases=learning_rate=1;learning_rate=2;learning_rate=3']
  if end == 'error':
    with pytest.raises(ValueError, match='^The loss became nan.$'):
      program.run(*arguments)
  else:
    assert program.run(*arguments)[0] == end
  assert [flags['learning_rate'] for flags in program.seen] == [1, 2]
  # Again: finished phases are asked as well, and say so themselves.
  program.codes = iter(())
  assert [flags['learning_rate'] for flags in program.run(*arguments)[1]] == [1, 2, 3]


def test_a_dry_run_goes_as_far_as_there_is_a_start(program, capsys):
  arguments = ['--epochs=1', '--phases=learning_rate=1;learning_rate=2;learning_rate=3']
  program.saves = False
  code, seen = program.run('--dry_run', *arguments)
  assert (code, len(seen)) == (0, 1)
  assert 'Phase 2 of 3 starts from what phase 1 leaves' in capsys.readouterr().out
  program.saves, program.codes = True, iter([130])
  program.run(*arguments)
  program.saves = False
  assert len(program.run('--dry_run', *arguments)[1]) == 2
  assert 'finished' not in capsys.readouterr().out


@pytest.mark.parametrize(('text', 'message'), [
  ('', None),
  ('epochs=1; ', 'expected flags in each of the 2 phases.*none in phase 2'),
  (';epochs=1', 'none in phase 1'),
  ('epochs=1;;epochs=2', 'expected flags in each of the 3 phases.*none in phase 2'),
  ('trainable_scopes="a epochs=1', 'expected flags as in a shell.*no closing quotation'),
  ('epochs=1; epoch=2', "phase 2: Unknown command line flag 'epoch'. Did you mean: epochs"),
  ('epochs=1; epochs=many', 'phase 2: flag --epochs=many'),
  ('epochs=1; learning_rate=-1', 'phase 2: flag --learning_rate=-1'),
  ('epochs=1; noepochs', 'phase 2: expected flag=value.*noepochs'),
  ('epochs 1', "phase 1: expected flag=value, without spaces around the sign. Received: 'epochs'"),
  ('epochs = 1', "phase 1: expected flag=value.*'epochs'"),
  ('use_grayscale 1', "phase 1: expected flag=value.*'1'"),
  ('epochs=1 --', 'phase 1: expected flag=value'),
  ('nouse_grayscale=1', 'phase 1: .*does not take an argument'),
  ('epochs=1; train_dir=x', 'phase 2: expected flags that a phase may have.*train_dir'),
  ('epochs=1 phases=x', 'phase 1: .*phases, which goes for all'),
  ('dry_run', 'phase 1: .*dry_run, which goes for all'),
  ('nodry_run', 'phase 1: .*dry_run, which goes for all'),
  ('flagfile=x', 'phase 1: .*flagfile, which goes for all'),
  ('learning_rate=1; epochs=1', 'expected an end of phase 1, for another to begin: --epochs or '
   '--max_number_of_steps or --early_stopping_patience'),
])
def test_mistakes_are_found_before_anything_runs(program, text, message):
  if message is None:
    assert len(program.run(f'--phases={text}')[1]) == 1
    return
  with pytest.raises(ValueError, match=f'--phases: {message}' if message[0] != 'n' else message):
    program.run(f'--phases={text}')
  assert program.seen == []


def test_the_last_phase_needs_no_end(program):
  assert program.run('--phases=early_stopping_patience=2;learning_rate=1')[0] == 0
