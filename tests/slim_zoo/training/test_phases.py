"""Phases: the flags of each, and where they continue."""

from __future__ import annotations

import json
import pathlib

import pytest

from slim_zoo.config import flag_values, programs
from slim_zoo.training import phases


class Program:
  """A trainer that only records the options of each run, and saves."""

  def __init__(self, folder: pathlib.Path):
    self.folder = folder
    self.codes = iter(())
    self.saves = True
    self.is_finished = True
    self.seen = []
    self.common = []

  def run(self, *arguments: str):
    """Returns the exit code and the options of each run."""
    parsed, _ = flag_values.parse(programs.Train, [f'--train_dir={self.folder}', *arguments])
    self.seen = seen = []

    def main(phase):
      values = flag_values.values_of(phase.parsed.config)
      seen.append({name: values[name] for name in phase.parsed.given if name != 'phases'})
      self.common.append({name for name in ('epochs', 'use_grayscale', 'learning_rate')
                          if phase.shares(name)})
      if not self.is_finished:
        phase.check_may_train()
      if self.saves:
        made = pathlib.Path(phase.folder)
        made.mkdir(exist_ok=True)
        (made / 'model.ckpt-1.index').touch()
      return next(self.codes, None) or 0

    return phases.run(main, parsed), seen


@pytest.fixture
def program(tmp_path):
  return Program(tmp_path)


def test_without_phases_main_runs_once(program):
  program.codes = iter([3])
  assert program.run('--epochs=2') == (3, [{'train_dir': str(program.folder), 'epochs': 2}])
  assert program.run() == (0, [{'train_dir': str(program.folder)}])


def test_flags_of_each_phase(program, capsys):
  code, seen = program.run(
    '--checkpoint_path=weights.ckpt', '--checkpoint_exclude_scopes=Logits', '--learning_rate=0.5',
    '--ignore_missing_vars', '--max_number_of_steps=7', '--checkpoint_channel_order=rgb',
    '--use_moving_averages', '--convert_input_channels',
    '--phases=trainable_scopes="a b,c;d" epochs=2 learning_rate=0.01; --use_grayscale '
    'learning_rate=1e-4;epochs=1 noignore_missing_vars checkpoint_exclude_scopes=x '
    'use_moving_averages=false')
  one, two, three = (str(program.folder / f'phase_{number}') for number in (1, 2, 3))
  assert code == 0
  assert seen == [
    {'train_dir': one, 'checkpoint_path': 'weights.ckpt', 'checkpoint_exclude_scopes': 'Logits',
     'learning_rate': 0.01, 'ignore_missing_vars': True, 'trainable_scopes': 'a b,c;d',
     'epochs': 2, 'checkpoint_channel_order': 'rgb', 'use_moving_averages': True,
     'convert_input_channels': True},
    {'train_dir': two, 'checkpoint_path': one, 'learning_rate': 1e-4, 'use_grayscale': True,
     'max_number_of_steps': 7},
    {'train_dir': three, 'checkpoint_path': two, 'checkpoint_exclude_scopes': 'x',
     'learning_rate': 0.5, 'ignore_missing_vars': False, 'use_moving_averages': False, 'epochs': 1},
  ]
  out = capsys.readouterr().out.splitlines()
  assert out[0] == "Phase 1 of 3: 'trainable_scopes=a b,c;d' epochs=2 learning_rate=0.01"
  assert three in out[-1]


def test_phase_can_start_from_another_checkpoint(program):
  _, seen = program.run('--epochs=1', '--phases=epochs=2;checkpoint_path=other/best')
  assert seen[1]['checkpoint_path'] == 'other/best'


def test_phase_knows_the_flags_of_all_phases(program):
  program.run('--epochs=1', '--use_grayscale', '--phases=epochs=2;nouse_grayscale')
  program.run('--epochs=1')
  assert program.common == [{'use_grayscale', 'learning_rate'}, {'epochs', 'learning_rate'}, set()]


def test_phase_is_not_extended_after_the_next_has_started(program):
  program.is_finished = False
  arguments = ['--epochs=1', '--phases=learning_rate=1;learning_rate=2']
  assert program.run(*arguments)[0] == 0
  one, two = (program.folder / f'phase_{number}' for number in (1, 2))
  with pytest.raises(ValueError, match=f'phase 1 .* step 1, .*phase 2 .*{two}'):
    program.run(*arguments)
  assert len(program.seen) == 1
  assert program.run(f'{arguments[1]} checkpoint_path={one}', '--epochs=1')[0] == 0
  (two / 'model.ckpt-1.index').unlink()
  assert program.run(*arguments)[0] == 0


@pytest.mark.parametrize(('start', 'step', 'received'), [
  ('phase_1/model.ckpt-1', 1, None),
  (None, 1, None),
  ('phase_1/model.ckpt-1', 5, 'phase_1, .*step 5'),
  ('phase_1/model.ckpt-1', None, 'phase_1, .*no checkpoint'),
  ('weights.npy', 1, 'phase_1, .*step 1'),
])
def test_phase_must_match_the_current_state_of_the_previous_one(program, start, step, received):
  arguments = ['--epochs=1', '--phases=learning_rate=1;learning_rate=2']
  program.run(*arguments)
  one, two = (program.folder / f'phase_{number}' for number in (1, 2))
  (two / 'model.ckpt-1.json').write_text(json.dumps({'started_from': start}))
  (one / 'model.ckpt-1.index').unlink()
  if step:
    (one / f'model.ckpt-{step}.index').touch()
  if received is None:
    assert program.run(*arguments)[0] == 0
    return
  with pytest.raises(ValueError, match=f'phase 2 .*{start}.*phase 1 .*{received}.*{two} '):
    program.run(*arguments)
  assert program.seen == []


@pytest.mark.parametrize('end', ['error', 130, 143])
def test_no_phase_follows_a_stopped_one(program, end):
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
  # Finished phases are called again, and report that themselves.
  program.codes = iter(())
  assert [flags['learning_rate'] for flags in program.run(*arguments)[1]] == [1, 2, 3]


def test_dry_run_checks_phases_up_to_the_first_without_a_start(program, capsys):
  arguments = ['--epochs=1', '--phases=learning_rate=1;learning_rate=2;learning_rate=3']
  program.saves = False
  code, seen = program.run('--dry_run', *arguments)
  assert (code, len(seen)) == (0, 1)
  assert 'Phase 2 of 3 starts from' in capsys.readouterr().out
  program.saves, program.codes = True, iter([130])
  program.run(*arguments)
  program.saves = False
  assert len(program.run('--dry_run', *arguments)[1]) == 2
  assert 'finished' not in capsys.readouterr().out


@pytest.mark.parametrize(('text', 'message'), [
  ('', None),
  ('epochs=1; ', '2 phases.*phase 2'),
  (';epochs=1', 'phase 1'),
  ('epochs=1;;epochs=2', '3 phases.*phase 2'),
  ('trainable_scopes="a epochs=1', 'quotation'),
  ('epochs=1; epoch=2', "phase 2: .*'epoch'.*epochs"),
  ('epochs=1; epochs=many', 'phase 2: flag --epochs=many'),
  ('epochs=1; learning_rate=-1', 'phase 2: flag --learning_rate=-1'),
  ('epochs=1; noepochs', 'phase 2: .*flag=value.*noepochs'),
  ('epochs 1', "phase 1: .*flag=value.*'epochs'"),
  ('epochs = 1', "phase 1: .*flag=value.*'epochs'"),
  ('use_grayscale 1', "phase 1: .*flag=value.*'1'"),
  ('epochs=1 --', 'phase 1: .*flag=value'),
  ('nouse_grayscale=1', 'phase 1: .*use_grayscale'),
  ('epochs=1; train_dir=x', 'phase 2: .*train_dir'),
  ('epochs=1; model_name=lenet', 'phase 2: .*model_name'),
  ('epochs=1 phases=x', 'phase 1: .*phases'),
  ('dry_run', 'phase 1: .*dry_run'),
  ('nodry_run', 'phase 1: .*dry_run'),
  ('flagfile=x', 'phase 1: .*flagfile'),
  ('learning_rate=1; epochs=1', 'phase 1.*--epochs or --max_number_of_steps or '
   '--early_stopping_patience'),
])
def test_mistakes_are_found_before_anything_runs(program, text, message):
  if message is None:
    assert len(program.run(f'--phases={text}')[1]) == 1
    return
  with pytest.raises(ValueError, match=f'--phases: .*{message}'):
    program.run(f'--phases={text}')
  assert program.seen == []


@pytest.mark.parametrize('flags', [
  ['--epochs=3'], ['--max_number_of_steps=3'], ['--epochs=3', '--learning_rate=0.1']])
def test_flag_that_every_phase_overrides(program, flags):
  with pytest.raises(ValueError, match=flags[0].partition('=')[0]):
    program.run('--phases=epochs=1; epochs=2', *flags)
  assert program.seen == []
  program.run('--phases=epochs=1; early_stopping_patience=2', *flags[:1])


def test_last_phase_needs_no_end(program):
  assert program.run('--phases=early_stopping_patience=2;learning_rate=1')[0] == 0


@pytest.mark.slow
def test_trainer_in_phases(in_process, tmp_path, capsys):
  folder = tmp_path / 'run'
  arguments = [f'--train_dir={folder}', '--dataset_name=digits', '--model_name=lenet', '--xla=off',
               '--cache_features=disk', '--augmentations_per_image=0', '--use_moving_averages',
               '--validation_fraction=0']
  text = '--phases=trainable_scopes=LeNet/fc4 epochs={}; learning_rate=0.001 max_number_of_steps=2'
  with in_process('train_image_classifier') as run:
    assert run(*arguments, text.format(0.08)) == 0
    first, second = capsys.readouterr().out.split('Phase 2 of 2: ')
    assert '56.16 steps' in first
    assert 'Training LeNet/fc4 of lenet' in first and 'Finished at step 5,' in first
    assert '--cache_features=disk: ' in first
    assert f'Warm start from {folder}/phase_1.' in second and 'Finished at step 2,' in second
    assert '--cache_features=off: ' in second
    assert second.splitlines()[-1].startswith('All 2 phases') and f'{folder}/phase_2' in second
    metadata = json.loads((folder / 'phase_2' / 'model.ckpt-2.json').read_text())
    assert metadata['started_from'] == str(folder / 'phase_1' / 'model.ckpt-5')

    assert run(*arguments, text.format(0.08)) == 0
    finished = [line for line in capsys.readouterr().out.splitlines() if 'finished' in line]
    assert len(finished) == 3
    assert 'step 5 of 5' in finished[0] and 'step 2 of 2' in finished[1]

    with pytest.raises(ValueError, match='phase 1 .*step 5.*phase 2'):
      run(*arguments, text.format(0.2))
    assert sorted(path.name for path in (folder / 'phase_1').glob('*.index')) == [
      'model.ckpt-5.index']


def test_shared_flag_need_not_act_in_every_phase(run_here, tmp_path):
  code, _, errors = run_here(
    'train_image_classifier', f'--train_dir={tmp_path}', '--dataset_name=digits',
    '--model_name=lenet', '--plateau_patience=1', '--max_number_of_steps=1',
    '--phases=learning_rate_decay_type=fixed; learning_rate_decay_type=plateau')
  assert code == 0, errors
  code, _, errors = run_here(
    'train_image_classifier', f'--train_dir={tmp_path / "other"}', '--dataset_name=digits',
    '--max_number_of_steps=1', '--phases=focal_gamma=1; batch_size=8')
  assert code == 1 and '--focal_gamma' in errors
