"""--recipe: what is chosen, what the user may choose instead, and what a resumed run keeps."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from slim_zoo.config import flag_values, programs
from slim_zoo.training import estimate, phases, recipes

_FACTS = recipes.Facts(num_examples=3303, num_classes=5, batch_size=32, head=('net/logits',),
                       num_layers=27, has_batch_norm=True)


def _chosen(phase: int, **facts) -> dict[str, str]:
  choices = recipes.finetune(dataclasses.replace(_FACTS, **facts))
  return {one.flag: one.value for one in choices if one.phase == phase}


@pytest.mark.parametrize(('num_examples', 'head_epochs', 'epochs'), [
  (20, 30, 30), (500, 30, 30), (3303, 18, 9), (10_000, 6, 5), (100_000, 5, 5)])
def test_epochs(num_examples, head_epochs, epochs):
  assert _chosen(1, num_examples=num_examples)['epochs'] == str(head_epochs)
  assert _chosen(2, num_examples=num_examples)['epochs'] == str(epochs)


@pytest.mark.parametrize(('num_examples', 'decay'), [
  (20, '0.9'), (100, '0.9'), (3303, '0.989'), (100_000, '0.999')])
def test_batch_norm_remembers_a_part_of_the_run(num_examples, decay):
  assert _chosen(2, num_examples=num_examples)['batch_norm_decay'] == decay
  assert 'batch_norm_decay' not in _chosen(2, num_examples=num_examples, has_batch_norm=False)


@pytest.mark.parametrize('num_layers', [5, 27])
def test_lowest_layer_learns_at_a_share_of_the_rate(num_layers):
  decay = float(_chosen(2, num_layers=num_layers)['layer_decay'])
  assert abs(decay ** num_layers - recipes._LOWEST) < 0.005


@pytest.mark.parametrize(('smallest', 'largest', 'is_weighted'), [
  (10, 800, True), (20, 100, True), (21, 100, False), (633, 898, False), (0, 0, False)])
def test_uneven_classes_are_weighted(smallest, largest, is_weighted):
  chosen = _chosen(0, smallest_class=smallest, largest_class=largest)
  assert chosen.get('class_weights') == ('balanced' if is_weighted else None)


@pytest.fixture
def measured():
  """The options of the commands that were measured."""
  return []


@pytest.fixture
def parse(tmp_path, monkeypatch, measured):
  """Parses a command line with a recipe, for a data set of which only the facts are known."""
  monkeypatch.setattr(recipes, '_facts', lambda parsed: _FACTS)

  def measure(parsed):
    measured.append(flag_values.values_of(parsed.config))
    return estimate.Estimate(first_seconds=10, step_seconds=0.64, num_steps=5, peak_bytes=0,
                             gpu_bytes={}), 367

  def parse(*more: str) -> flag_values.Parsed:
    arguments = [f'--train_dir={tmp_path / "run"}', '--recipe=finetune',
                 '--checkpoint_path=weights', *more]
    return recipes.apply(flag_values.parse(programs.Train, arguments)[0], measure=measure)

  return parse


def _of_phases(parsed) -> list[dict]:
  return [flag_values.values_of(phase.parsed.config) for phase in phases.split(parsed)]


def test_phases(parse, capsys):
  head, everything = _of_phases(parse())
  assert head['trainable_scopes'] == 'net/logits' and everything['trainable_scopes'] is None
  assert head['checkpoint_exclude_scopes'] == 'net/logits'
  assert everything['checkpoint_exclude_scopes'] is None
  assert head['augmentations_per_image'] == 0
  assert everything['checkpoint_path'] == head['train_dir']
  assert head['optimizer'] == everything['optimizer'] == 'adamw'
  assert head['batch_norm_decay'] is None and everything['batch_norm_decay'] == 0.989
  assert '--learning_rate_decay_type=cosine' in capsys.readouterr().out


def test_given_flags_count_instead(parse, capsys):
  found = _of_phases(parse('--max_number_of_steps=7', '--optimizer=momentum',
                           '--layer_decay=0.5'))
  assert [(one['max_number_of_steps'], one['epochs'], one['optimizer'], one['layer_decay'])
          for one in found] == [(None, 18, 'momentum', 0.5), (7, None, 'momentum', 0.5)]
  assert '--layer_decay' not in capsys.readouterr().out


def test_length_that_the_user_chose():
  chosen = _chosen(2, epochs=2.0)
  assert (chosen['epochs'], chosen['warmup_epochs'], chosen['batch_norm_decay']) == (
    '2', '0.2', '0.952')
  assert _chosen(1, epochs=2.0)['epochs'] == '18'


@pytest.mark.parametrize(('minutes', 'num_examples', 'epochs'), [
  # 0.02 s per example: an epoch takes 66 s, a validation 2.9 s, starting 30 + 30 s, the head 29 s:
  # (300 - 89) / 69 = 3.1 epochs, (1200 - 89 - 29) / 66 = 16.4 epochs.
  (5, 3303, 3), (20, 3303, 16), (60, 3303, 30), (1, 3303, 1), (20, 100_000, 1), (3, 100, 30)])
def test_time_budget(minutes, num_examples, epochs):
  budget = recipes.Budget(60 * minutes, first_step=10, step=0.64, num_validation=367)
  chosen = _chosen(2, num_examples=num_examples, budget=budget)
  assert chosen['epochs'] == str(epochs)
  assert 0 < float(chosen['warmup_epochs']) <= epochs / 10


def test_time_of_a_head_without_kept_features():
  # Each pass takes 26.4 s: (1200 - 60 - 18 · 26.4 - 2.9 - 29) / 66 = 9.6 epochs, or, with a
  # validation after each, (1200 - 60 - 18 · 26.4 - 2.9) / 69 = 9.6.
  budget = recipes.Budget(1200, first_step=10, step=0.64, num_validation=367, head_passes=18)
  assert _chosen(2, budget=budget)['epochs'] == '9'


def test_steps_are_measured_as_the_recipe_makes_them(parse, measured, capsys):
  everything = _of_phases(parse('--recipe_minutes=20', '--layer_decay=0.5'))[1]
  assert everything['epochs'] == 16 and '50 images/s' in capsys.readouterr().out
  [found] = measured
  assert not found['recipe'] and not found['phases'] and found['recipe_minutes'] is None
  for name in ('optimizer', 'layer_decay', 'min_crop_area', 'learning_rate', 'trainable_scopes',
               'checkpoint_path'):
    assert found[name] == (everything | {'checkpoint_path': 'weights'})[name], name


@pytest.mark.parametrize('length', ['--epochs=3', '--max_number_of_steps=3'])
def test_time_and_another_length(parse, length):
  with pytest.raises(ValueError, match=f'--recipe_minutes.*{length[:5]}'):
    parse('--recipe_minutes=3', length)


def test_optimizer_that_does_not_decay_by_itself():
  assert 'weight_decay' not in _chosen(1, decouples_decay=False)
  assert 'weight_decay' not in _chosen(2, decouples_decay=False)


def test_head_is_trained_on_features_whatever_is_given(parse):
  head, everything = _of_phases(parse('--mixup_alpha=0.2', '--augmentation_repeats=2',
                                      '--teacher_path=other', '--distillation_weight=0.9'))
  names = ('mixup_alpha', 'augmentation_repeats', 'distillation_weight')
  assert [head[name] for name in names] == [0, 1, 0.5] and not head['teacher_path']
  assert [everything[name] for name in names] == [0.2, 2, 0.9]
  assert everything['teacher_path'] == 'other'


def test_layers_of_the_last_phase(parse):
  head, last = _of_phases(parse('--trainable_scopes=net/block4,net/logits'))
  assert head['trainable_scopes'] == 'net/logits'
  assert last['trainable_scopes'] == 'net/block4,net/logits'


def test_resumed_run_keeps_its_flags(parse, tmp_path, monkeypatch, capsys):
  parse('--layer_decay=0.5')
  first = parse()  # Nothing was trained yet: chosen again.
  assert _of_phases(first)[1]['layer_decay'] == 0.918
  (tmp_path / 'run' / 'phase_1').mkdir()
  (tmp_path / 'run' / 'phase_1' / 'model.ckpt-1.index').touch()
  monkeypatch.setattr(recipes, '_facts', None)
  assert parse() == first
  assert 'when the run began' in capsys.readouterr().out
  file = tmp_path / 'run' / recipes.FILE
  flagfile, _ = flag_values.parse(programs.Train, [
    line for line in file.read_text().splitlines() if line.startswith('--')])
  assert flagfile.config.session.phases == first.config.session.phases
  file.write_text('--optimizer=adamw\n')
  with pytest.raises(ValueError, match='--phases'):
    parse()


def test_dry_run_writes_nothing(parse, tmp_path):
  parse('--dry_run')
  assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize('more', [['--checkpoint_path='], ['--phases=epochs=1']])
def test_what_a_recipe_needs(parse, more):
  with pytest.raises(ValueError, match='--checkpoint_path|--phases'):
    parse(*more)


def test_finetuning(run_here, tmp_path):
  rng = np.random.default_rng(0)
  for name, value in (('dark', 60), ('light', 190)):
    (tmp_path / 'photos' / name).mkdir(parents=True)
    for number in range(12):
      pixels = np.clip(rng.normal(value, 20, [24, 24, 3]), 0, 255).astype(np.uint8)
      Image.fromarray(pixels).save(tmp_path / 'photos' / name / f'{number}.png')
  data = ['--dataset_name=folder', f'--dataset_dir={tmp_path / "photos"}', '--batch_size=4']

  def run(name, *flags):
    code, out, errors = run_here(name, *data, *flags)
    assert code == 0, errors
    return out

  train = 'train_image_classifier'
  run(train, f'--train_dir={tmp_path / "before"}', '--model_name=cifarnet',
      '--max_number_of_steps=1')
  command = [f'--train_dir={tmp_path / "run"}', '--recipe=finetune', '--epochs=2',
             f'--checkpoint_path={tmp_path / "before"}']
  assert '--batch_norm_decay' not in run(train, *command)  # cifarnet has no batch norm.
  assert (tmp_path / 'run' / 'phase_2' / 'model.ckpt-11.index').exists()
  assert run(train, *command).count('This run is finished') == 2
  run('eval_image_classifier', f'--checkpoint_path={tmp_path / "run"}')
  assert json.loads((tmp_path / 'run' / 'eval' / 'eval.json').read_text())['step'] == 11
