"""The loop of a run, with a trainer that only counts: timing and order of events."""

from __future__ import annotations

import math
import signal
import types
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

from slim_zoo.evaluation.evaluator import Measurement
from slim_zoo.training import loop
from slim_zoo.training.trainer import Steps


class _Run:
  """Replaces everything around the loop, and records the calls.

  Time is simulated: each step takes `seconds_a_step`.
  """

  def __init__(self, *, step=0, seconds_a_step=0.1, bad_step=None, stop_at=None, top_1=(),
               loss=(), top_5=(), mean_recall=(), give_up_at=()):
    self.step = step
    self.seconds, self._seconds_a_step = 0.0, seconds_a_step
    self._bad_step, self._stop_at = bad_step, stop_at
    self._give_up_at = give_up_at
    self._metrics = {'top_1': iter(top_1), 'loss': iter(loss), 'top_k': iter(top_5)}
    self._mean_recall = iter(mean_recall)
    self.events: list[tuple[str, int]] = []
    self.calls: list[int] = []
    self.lines: list[str] = []
    self.rows: list[dict] = []
    self.network = types.SimpleNamespace(variables={})
    self.images_per_second = self.rate_scale = 1.0
    self._gradients: list[weakref.ref] = []

  # The trainer's methods.
  def run(self, batches, num_steps, *, with_gradients):
    assert num_steps > 0
    numbers = self.step + 1 + np.arange(num_steps)
    self.step += num_steps
    self.seconds += num_steps * self._seconds_a_step
    self.calls.append(num_steps)
    if self._stop_at and self.step >= self._stop_at:
      signal.raise_signal(signal.SIGTERM)
      self._stop_at = None
    objective = np.where(numbers == self._bad_step, np.nan, numbers)
    # Gradients take as much memory as all trained variables: they are freed before the next call.
    assert all(gradient() is None for gradient in self._gradients)
    gradient = np.ones(3)
    self._gradients.append(weakref.ref(gradient))
    return Steps(loss=numbers * 2.0, objective=objective, accuracy=numbers / 1000,
                 learning_rate=0.1 / numbers, gradients={'g': gradient} if with_gradients else {})

  # Methods of the recorder and the progress.
  def scalars(self, step, values):
    self.rows.append({'step': step, **values})

  def histograms(self, step, variables, gradients):
    assert gradients
    self.events.append(('histograms', step))

  def flush(self):
    pass

  def draw(self, step, epoch, outcomes, *, is_last):
    assert self.rows[-1]['step'] == step == self.step and 'validation_loss' in self.rows[-1]
    assert outcomes == 'outcomes' and epoch == self.step // 8
    self.events.append(('last pictures' if is_last else 'pictures', step))

  def advance(self, step, seconds, text):
    assert step == self.step

  def pause(self, text):
    pass

  def log(self, text):
    self.events.append(('log', self.step))

  def say(self, text):
    self.lines.append(text)

  # Functions of the script.
  def save(self):
    self.events.append(('save', self.step))

  def save_best(self):
    self.events.append(('best', self.step))

  def validate(self, gives_up):
    if self.step in self._give_up_at:
      signal.raise_signal(signal.SIGTERM)
    if gives_up():
      return None
    self.events.append(('validate', self.step))
    values = {name: next(numbers, 0.5) for name, numbers in self._metrics.items()}
    right = round(1000 * next(self._mean_recall, 0.5))
    return Measurement(count=10, k=5, class_counts=(1000, 0), class_right=(right, 0),
                       among_present=(0.5, 1.0), **values), 'outcomes'

  def at(self, kind) -> list[int]:
    """The steps at which something happened."""
    return [step for event, step in self.events if event == kind]


@pytest.fixture
def fit(monkeypatch):
  """`fit(run, state=…, validates=…, **plan)` runs the loop."""
  def function(run: _Run, *, state=None, validates=True, **plan):
    class Stopwatch:
      def __init__(self):
        self._start = run.seconds

      @property
      def seconds(self):
        return run.seconds - self._start

    monkeypatch.setattr(loop, 'Stopwatch', Stopwatch)
    plan = loop.Plan(**{'last_step': 20, 'log_every': 10, 'validate_every': None,
                        'save_every': None, 'save_seconds': math.inf,
                        'histogram_seconds': math.inf, 'steps_per_epoch': 8.0, **plan})
    return loop.fit(run, iter(()), plan, validation_state=state or loop.ValidationState(),
                    recorder=run, progress=run, save=run.save, save_best=run.save_best,
                    validate=run.validate if validates else None)
  return function


@pytest.mark.parametrize('last_step', [10, 20])
def test_interrupted_validation_is_repeated(fit, last_step):
  run, state = _Run(give_up_at=[10]), loop.ValidationState()
  assert fit(run, state=state, last_step=last_step, validate_every=5) == signal.SIGTERM
  assert run.at('validate') == [5]
  assert run.at('save') == [10]
  assert state.validation_due
  again = _Run(step=10, top_1=[0.9])
  assert fit(again, state=state, last_step=last_step, validate_every=5) is None
  assert again.at('validate') == list(range(10, last_step + 1, 5))
  assert again.at('save') == sorted({10, last_step})
  assert (state.best_step, state.validation_due) == (10, False)


def test_log_then_validate_then_save(fit):
  run = _Run()
  assert fit(run, validate_every=10, save_every=10) is None
  assert [e for e in run.events if e[0] != 'histograms'] == [
    ('log', 10), ('validate', 10), ('best', 10), ('pictures', 10), ('save', 10),
    ('log', 20), ('validate', 20), ('last pictures', 20), ('save', 20)]


@pytest.mark.parametrize('seconds_a_step', [0.0, 1e-6, 0.03, 0.4, 1.0, 100.0])
@pytest.mark.parametrize('first', [0, 1, 29, 30, 100])
def test_no_event_is_missed_at_any_speed(fit, seconds_a_step, first):
  run = _Run(step=first, seconds_a_step=seconds_a_step)
  last = 207
  fit(run, last_step=last, log_every=7, validate_every=30, save_every=45)

  def every(count):
    return [step for step in range(first + 1, last + 1) if step % count == 0]

  assert run.step == last
  assert run.at('log') == [*every(7), last]
  assert run.at('validate') == [*every(30), last]
  assert run.at('save') == [*every(45), last]
  assert sum(run.calls) == last - first
  # Signals are handled soon, but short steps are not separate calls.
  assert max(run.calls) * seconds_a_step <= max(2.0, seconds_a_step)
  if seconds_a_step <= 0.03:
    assert len(run.calls) < (last - first) / 2


@pytest.mark.parametrize(('last', 'saves'), [(20, [10, 20]), (25, [10, 20, 25]), (10, [10])])
def test_last_step_is_saved_once(fit, last, saves):
  run = _Run()
  fit(run, last_step=last, save_every=10)
  assert run.at('save') == saves


def test_nothing_to_do_saves_nothing(fit):
  run = _Run(step=20)
  assert fit(run) is None
  assert run.events == []


def test_saving_by_time(fit):
  run = _Run(seconds_a_step=1.0)
  fit(run, last_step=23, save_seconds=5.0)
  assert run.at('save') == [5, 10, 15, 20, 23]


def test_saving_by_steps_resets_the_timer(fit):
  run = _Run(seconds_a_step=1.0)
  fit(run, last_step=12, save_every=4, save_seconds=5.0)
  assert run.at('save') == [4, 8, 12]


def test_histograms_at_the_first_call_and_then_by_time(fit):
  run = _Run(seconds_a_step=1.0)
  fit(run, last_step=12, histogram_seconds=4.0)
  assert run.at('histograms') == [1, 6, 11]


def test_logged_values_are_means_since_the_last_line(fit):
  run = _Run(step=3)
  fit(run, last_step=12, log_every=5)
  assert [row['step'] for row in run.rows] == [5, 10, 12]
  for row, (first, last) in zip(run.rows, ((4, 5), (6, 10), (11, 12)), strict=True):
    mean = (first + last) / 2
    assert row == pytest.approx({
      'step': last, 'epoch': last / 8, 'loss': 2 * mean, 'objective': mean,
      'accuracy': mean / 1000, 'learning_rate': 0.1 / last, 'images_per_second': 1.0})


def test_validations_are_recorded(fit):
  run = _Run(top_1=[0.25], top_5=[0.75], loss=[1.5], mean_recall=[0.125])
  fit(run, last_step=4, validate_every=4, log_every=100)
  assert run.rows[-1] == {'step': 4, 'epoch': 0.5, 'validation_top_1': 0.25,
                          'validation_top_5': 0.75, 'validation_mean_recall': 0.125,
                          'validation_loss': 1.5}
  assert run.lines == ['validation at step 4: top-1 0.2500, top-5 0.7500, mean recall 0.1250, '
                       'loss 1.5000 on 10 examples (best so far)']


_NAN, _INF = math.nan, math.inf


@pytest.mark.parametrize(('metric', 'values', 'best'), [
  ('top_1', [0.1, 0.3, 0.2, 0.4], [1, 2, 4]),
  ('top_1', [0.3, 0.3, 0.3], [1]),  # The first of equals.
  ('top_5', [0.5, 0.4, 0.6], [1, 3]),
  ('mean_recall', [0.4, 0.3, 0.5], [1, 3]),
  ('loss', [3.0, 4.0, 2.0, 2.0, 1.0], [1, 3, 5]),
  ('loss', [_INF, 4.0, _NAN, 3.0], [2, 4]),  # Non-finite values are never the best.
  ('top_1', [_NAN, 0.1, _NAN, 0.2], [2, 4]),
])
def test_best(fit, metric, values, best):
  run, state = _Run(**{metric: values}), loop.ValidationState()
  fit(run, last_step=len(values), validate_every=1, best_metric=metric, state=state)
  assert run.at('best') == best
  since = len(values) - best[-1]
  assert state == loop.ValidationState(values[best[-1] - 1], best[-1], since)


def test_best_survives_a_restart(fit):
  state = loop.ValidationState(best_value=0.9, best_step=4, validations_since_best=1)
  run = _Run(step=5, top_1=[0.8, 0.95])
  fit(run, last_step=7, validate_every=1, state=state)
  assert run.at('best') == [7]


def test_patience(fit):
  run, state = _Run(top_1=[0.1, 0.5, 0.4, 0.45, 0.6]), loop.ValidationState()
  fit(run, last_step=100, validate_every=3, patience=2, state=state)
  assert run.at('validate') == [3, 6, 9, 12]
  assert run.at('save') == [12]
  assert state == loop.ValidationState(0.5, 6, 2, stopped_early=True)
  assert run.lines[-1] == ('stopping early: 2 validations without a better top_1 than 0.5 at '
                           'step 6')


def test_patience_survives_a_restart(fit):
  state = loop.ValidationState(0.5, 6, validations_since_best=1)
  run = _Run(step=9, top_1=[0.45, 0.9])
  fit(run, last_step=100, validate_every=3, save_every=3, patience=2, state=state)
  assert run.at('validate') == [12]
  assert state.stopped_early
  # The end is in the checkpoint: a finished run does not continue.
  assert run.at('save') == [12]
  fit(run, last_step=100, validate_every=3, state=state)
  assert run.step == 12


def test_without_validation(fit):
  run = _Run()
  fit(run, validate_every=5, validates=False)
  assert not run.at('validate')
  assert run.step == 20


@pytest.mark.parametrize('seconds_a_step', [1e-6, 10.0])
@pytest.mark.parametrize('bad_step', [1, 11, 17, 20])
def test_non_finite_loss(fit, bad_step, seconds_a_step):
  run = _Run(bad_step=bad_step, seconds_a_step=seconds_a_step)
  rate = f'{0.1 / bad_step:.6g}'
  message = rf'nan .*\b{bad_step}\b.* {rate}\.'
  with pytest.raises(loop.NonFiniteLossError, match=message):
    fit(run, save_every=10, validate_every=10)
  saved = [step for step in (10, 20) if step < bad_step]
  assert run.at('save') == run.at('validate') == run.at('log') == saved
  assert set(run.at('best')) <= set(saved)


def test_non_finite_state():
  state = {'a': tf.constant([1, 2]), 'b': tf.constant([0.0, 1e38])}
  loop.check_state(state, 7)
  for bad in (_NAN, _INF, -_INF):
    with pytest.raises(loop.NonFiniteLossError, match=r'\bc\b.*\b7\b'):
      loop.check_state({**state, 'c': tf.constant([0.0, bad])}, 7)


@pytest.mark.parametrize('stop_at', [1, 5, 10, 20])
def test_signal_saves_and_stops(fit, stop_at):
  run = _Run(stop_at=stop_at, seconds_a_step=10.0)
  handler = signal.getsignal(signal.SIGTERM)
  assert fit(run, save_every=10) is signal.SIGTERM
  assert run.step == stop_at
  assert run.at('save') == sorted({*(s for s in (10, 20) if s <= stop_at), stop_at})
  assert signal.getsignal(signal.SIGTERM) is handler


def test_without_an_end(fit):
  run = _Run(stop_at=1000)
  assert fit(run, last_step=None, log_every=100, save_every=300) is signal.SIGTERM
  assert run.step >= 1000
  assert run.at('save') == [300, 600, 900, run.step]


def _keras_rates(values, patience):
  model = types.SimpleNamespace(optimizer=keras.optimizers.SGD(1.0))
  callback = keras.callbacks.ReduceLROnPlateau('top_1', factor=0.5, patience=patience, mode='max',
                                               min_delta=0)
  callback.set_model(model)
  callback.on_train_begin()
  rates = []
  for epoch, value in enumerate(values):
    callback.on_epoch_end(epoch, {'top_1': value})
    rates.append(float(model.optimizer.learning_rate))
  return rates


@pytest.mark.filterwarnings('ignore::DeprecationWarning')  # Keras' own.
@pytest.mark.parametrize('patience', [1, 2, 3])
def test_plateau_equals_keras(fit, patience):
  values = [0.5, 0.6, 0.6, 0.55, 0.7, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.8, 0.7, 0.7]
  expected, rates = _keras_rates(values, patience), []
  state = loop.ValidationState()
  for number, _ in enumerate(values):  # Resumed after each validation.
    run = _Run(step=number, top_1=[values[number]])
    fit(run, state=state, last_step=number + 1, validate_every=1, plateau_patience=patience,
        plateau_factor=0.5)
    rates.append(run.rate_scale)
  assert rates == expected
  run = _Run(top_1=values)  # In one go.
  fit(run, last_step=len(values), validate_every=1, plateau_patience=patience, plateau_factor=0.5)
  assert run.rate_scale == expected[-1]


def test_lowered_rate_is_that_of_plateau_alone(fit):
  for patience, expected in ((3, 0.01), (None, 1.0)):
    run = _Run(step=3)
    fit(run, state=loop.ValidationState(rate_drops=2), last_step=4, plateau_factor=0.1,
        plateau_patience=patience)
    assert run.rate_scale == pytest.approx(expected)
