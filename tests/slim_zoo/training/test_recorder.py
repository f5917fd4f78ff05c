"""The records of a run: `metrics.csv` and event files for TensorBoard."""

from __future__ import annotations

import csv
import io
import os
import pathlib
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.plugins.histogram import summary as histogram_summary
from tensorboard.plugins.hparams import plugin_data_pb2

from slim_zoo.report import curves
from slim_zoo.training import recorder as recorder_module
from slim_zoo.training.recorder import Recorder, count_buckets

_TRAIN = {'epoch': 0.5, 'loss': 2.5, 'objective': 2.75, 'accuracy': 0.25, 'learning_rate': 0.125,
          'images_per_second': 100.0}
_VALIDATION = {'epoch': 0.5, 'validation_loss': 1.5, 'validation_top_1': 0.5,
               'validation_top_5': 0.75, 'validation_mean_recall': 0.625}


_OUTCOMES = object()  # The recorder only hands them on.


def _rows(folder) -> list[dict]:
  with open(folder / 'metrics.csv', newline='', encoding='utf-8') as file:
    return list(csv.DictReader(file))


def _steps(folder) -> list[int]:
  return [int(row['step']) for row in _rows(folder)]


def _write(folder, *, start, steps):
  recorder = Recorder(folder, step=start)
  for step in steps:
    recorder.scalars(step, _TRAIN)
  recorder.close()


def _events(folder):
  return event_accumulator.EventAccumulator(str(folder), size_guidance={'tensors': 0}).Reload()


def test_rows_contain_the_measurements(tmp_path):
  recorder = Recorder(tmp_path, step=0)
  recorder.scalars(10, _TRAIN)
  recorder.scalars(10, _VALIDATION)
  recorder.close()
  rows = _rows(tmp_path)
  for row, values in zip(rows, (_TRAIN, _VALIDATION), strict=True):
    assert {k: float(v) for k, v in row.items() if v} == {'step': 10, **values}


@pytest.mark.parametrize(('step', 'kept'), [
  (0, []), (9, []), (10, [10]), (25, [10, 20]), (30, [10, 20, 30]), (99, [10, 20, 30])])
def test_rows_after_the_resumed_step_are_removed(tmp_path, step, kept):
  _write(tmp_path, start=0, steps=[10, 20, 30])
  before = _rows(tmp_path)
  _write(tmp_path, start=step, steps=[step + 1])
  assert _steps(tmp_path) == [*kept, step + 1]
  assert _rows(tmp_path)[:-1] == [row for row in before if int(row['step']) in kept]
  assert not list(tmp_path.glob('*.new'))


@pytest.mark.parametrize('damage', [
  lambda text: text[:text.rindex('\n3000') + 3],  # Only `30` remains of step 3000.
  lambda text: text[:text.rindex('\n3000') + 10],
  lambda text: text + 'junk\r\n',
  lambda text: text.replace('\n3000,', '\n,'),
  lambda text: text.replace('\n3000,', '\nx,'),
  lambda text: text.replace('\n3000,', '\n²,'),
  lambda text: text.replace('\n3000,', f'\n{"9" * 5000},'),
  lambda text: text.replace('\n3000,', '\n"3000,'),
  lambda text: text + '\0' * 4096,  # As after a crash of the machine.
  lambda text: text + 'x' * 200_000,
])
def test_damaged_rows_are_removed(tmp_path, damage):
  _write(tmp_path, start=0, steps=[1000, 2000, 3000])
  path = tmp_path / 'metrics.csv'
  path.write_bytes(damage(path.read_bytes().decode()).encode())
  _write(tmp_path, start=2500, steps=[3000])
  assert _steps(tmp_path) == [1000, 2000, 3000]


@pytest.mark.parametrize('text', ['', 'something else\n1\n', 'step\n'])
def test_foreign_file_is_replaced(tmp_path, text):
  (tmp_path / 'metrics.csv').write_text(text)
  _write(tmp_path, start=5, steps=[6])
  assert _steps(tmp_path) == [6]
  kept = [path.read_text() for path in tmp_path.glob('metrics.csv.old')]
  assert kept == ([text] if text.startswith('something') else [])


def test_rows_that_are_not_text_are_removed(tmp_path):
  _write(tmp_path, start=0, steps=[1, 2])
  with open(tmp_path / 'metrics.csv', 'ab') as file:
    file.write(b'\xff\xfe\x80\n')
  _write(tmp_path, start=2, steps=[3])
  assert _steps(tmp_path) == [1, 2, 3]


def test_unknown_column_is_an_error(tmp_path):
  recorder = Recorder(tmp_path, step=0)
  with pytest.raises(ValueError, match='surprise'):
    recorder.scalars(1, {'surprise': 1})
  recorder.close()


def test_tensorboard_reads_scalars(tmp_path):
  recorder = Recorder(tmp_path, step=0)
  recorder.scalars(10, _TRAIN)
  recorder.scalars(20, {**_TRAIN, 'loss': 1.0})
  recorder.scalars(20, _VALIDATION)
  recorder.flush()  # It can be read during the run.
  events = _events(tmp_path)
  recorder.close()
  found = {tag: [(e.step, float(tf.make_ndarray(e.tensor_proto))) for e in events.Tensors(tag)]
           for tag in events.Tags()['tensors']}
  assert found == {
    'train/loss': [(10, 2.5), (20, 1.0)], 'train/objective': [(10, 2.75), (20, 2.75)],
    'train/accuracy': [(10, 0.25), (20, 0.25)], 'train/learning_rate': [(10, 0.125), (20, 0.125)],
    'train/images_per_second': [(10, 100.0), (20, 100.0)],
    'validation/loss': [(20, 1.5)], 'validation/top_1': [(20, 0.5)],
    'validation/top_5': [(20, 0.75)], 'validation/mean_recall': [(20, 0.625)]}


def test_tensorboard_reads_histograms(tmp_path):
  weights = np.linspace(-1, 3, 100, dtype=np.float32)
  variables = {'net/w': tf.Variable(weights), 'net/frozen': tf.Variable([1.0])}
  recorder = Recorder(tmp_path, step=0)
  recorder.histograms(7, variables, {'net/w': 10 * weights})
  recorder.close()
  events = _events(tmp_path)
  # Only of trained variables, which have gradients.
  assert sorted(events.Tags()['tensors']) == ['gradients/net/w', 'variables/net/w']
  for tag, values in (('variables/net/w', weights), ('gradients/net/w', 10 * weights)):
    assert events.SummaryMetadata(tag).plugin_data.plugin_name == 'histograms'
    event, = events.Tensors(tag)
    assert event.step == 7
    edges = tf.make_ndarray(event.tensor_proto)
    assert (edges[0, 0], edges[-1, 1]) == pytest.approx((values.min(), values.max()))
    assert edges[:, 2].sum() == 100
    expected, _ = np.histogram(values, bins=len(edges))
    np.testing.assert_allclose(edges[:, 2], expected, atol=1)


_NORMAL = np.random.default_rng(0).normal(size=[50, 40]).astype(np.float32)


@pytest.mark.parametrize('values', [
  _NORMAL, np.full([3, 2], 0.25, np.float32), np.float32(7),
  np.zeros([0, 5], np.float32), np.array([-3e38, 3e38], np.float32),
  np.array([1, np.nextafter(np.float32(1), np.float32(2))], np.float32)],
  ids=['normal', 'all the same', 'a scalar', 'none', 'the widest', 'the narrowest'])
def test_buckets_equal_tensorboards(values):
  summary = histogram_summary.histogram_pb('tag', values).value[0]
  expected = tf.make_ndarray(summary.tensor)
  found = count_buckets(values)
  assert found[:, 2].sum() == values.size
  np.testing.assert_allclose(found[:, 2], expected[:, 2], atol=1)
  np.testing.assert_allclose(found[:, :2], expected[:, :2], rtol=1e-6,
                             atol=1e-6 * np.abs(values).max(initial=0))


def test_non_finite_numbers_are_in_no_bucket():
  values = np.array([np.nan, 1, 2, np.inf, 4, -np.inf], np.float32)
  np.testing.assert_array_equal(count_buckets(values),
                                count_buckets(values[[1, 2, 4]]))
  np.testing.assert_array_equal(count_buckets(values[3:]), count_buckets(values[4:5]))
  assert not count_buckets(values[:1]).any()


def test_histograms_use_little_memory(tmp_path):
  """tf.summary.histogram used 25 GB for vgg_16/fc6/weights, which ended the run."""
  script = """
import resource, sys
import numpy as np, pathlib, tensorflow as tf
from slim_zoo.training.recorder import Recorder
values = np.zeros(40_000_000, np.float32)
values[0] = 1
recorder = Recorder(pathlib.Path(sys.argv[1]), step=0)
recorder.histograms(1, {'a': tf.Variable([1.0])}, {'a': [1.0]})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
recorder.histograms(2, {'a': tf.Variable(values)}, {'a': values})
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
  ended = subprocess.run([sys.executable, '-c', script, str(tmp_path)], capture_output=True,
                         text=True, check=True, cwd=pathlib.Path(__file__).parents[3],
                         env={**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '3'})
  # Kilobytes; the variable has 160 MB, and there may be two copies.
  assert int(ended.stdout) < 600_000


def test_curves(tmp_path, monkeypatch, capsys):
  recorder = Recorder(tmp_path, step=0)
  path = tmp_path / 'curves.png'
  recorder.scalars(10, _TRAIN)
  recorder.scalars(10, _VALIDATION)
  recorder.draw(10, 0, _OUTCOMES)
  with PIL.Image.open(path) as image:
    colours = np.asarray(image.convert('RGB')).reshape(-1, 3)
  lines = {tuple(colour) for colour in np.unique(colours, axis=0).tolist()}
  # matplotlib's first two colours, of training and of validation.
  assert {(31, 119, 180), (255, 127, 14)} <= lines
  path.unlink()
  recorder.draw(10, 0, _OUTCOMES)
  assert not path.exists()  # Drawing would take most of the time.
  monkeypatch.setattr(recorder_module, '_PAUSE', 0)
  recorder.draw(10, 0, _OUTCOMES)
  assert path.exists()
  path.unlink()
  path.mkdir()
  recorder.draw(10, 0, _OUTCOMES)
  assert 'Warning' in capsys.readouterr().out
  recorder.close()


class _Pictures:
  """Pictures of one colour, which is the step."""

  def __init__(self, error: type[Exception] | None = None):
    self._error = error

  def draw(self, step, epoch, outcomes):
    assert epoch == 1 and outcomes is _OUTCOMES
    yield 'train/images', np.full([4, 6, 3], step, np.uint8)
    if self._error:
      raise self._error('gone')


@pytest.mark.parametrize(('seconds', 'steps'), [(0, [10, 20, 30]), (600, [30])])
def test_pictures_are_written_when_it_is_time(tmp_path, seconds, steps):
  recorder = Recorder(tmp_path, step=0, pictures=_Pictures(), picture_seconds=seconds)
  for step in (10, 20, 30):
    recorder.draw(step, 1, _OUTCOMES, is_last=step == 30)
  recorder.close()
  found = _events(tmp_path).Tensors('train/images')
  assert [event.step for event in found] == steps
  for event in found:
    width, height, encoded = event.tensor_proto.string_val[:3]
    assert (width, height) == (b'6', b'4')
    with PIL.Image.open(io.BytesIO(encoded)) as image:
      assert {*image.get_flattened_data()} == {(event.step,) * 3}


@pytest.mark.parametrize('error', [OSError, ValueError, ZeroDivisionError])
def test_a_run_goes_on_if_a_picture_cannot_be_drawn(tmp_path, capsys, error):
  recorder = Recorder(tmp_path, step=0, pictures=_Pictures(error))
  recorder.draw(10, 1, _OUTCOMES, is_last=True)
  recorder.close()
  assert 'gone' in capsys.readouterr().out


def test_tensorboard_reads_hyperparameters(tmp_path):
  recorder = Recorder(tmp_path, step=0)
  values = {'learning_rate': 0.01, 'optimizer': 'adamw', 'batch_size': 32, 'nesterov': True}
  recorder.hyperparameters({**values, 'dataset_dir': 'a\udcff'})  # Paths need not be UTF-8.
  recorder.close()
  events = _events(tmp_path)
  content = events.SummaryMetadata('_hparams_/session_start_info').plugin_data.content
  found = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
  assert {name: getattr(value, value.WhichOneof('kind')) for name, value in found.items()} == {
    **values, 'dataset_dir': 'a\\xff'}


def test_points_of_a_column_leave_out_empty_cells():
  rows = [{'epoch': '0.5', 'loss': '2', 'validation_loss': ''}, {'epoch': '1', 'loss': ''},
          {'epoch': '1.5', 'loss': '1e-3', 'validation_loss': '3'}]
  assert curves._points(rows, 'loss') == ([0.5, 1.5], [2, 0.001])
  assert curves._points(rows, 'validation_loss') == ([1.5], [3])
  assert curves._points(rows, 'validation_f1') == ([], [])
