"""Plans of runs on many machines: what is counted, what is printed, and mistakes."""

from __future__ import annotations

import functools

import pytest
from absl import flags


@pytest.mark.parametrize(('network', 'num_classes', 'trainable'), [
  ('resnet_v1_50', None, 25_557_032),  # As in test_nets_factory.
  ('lenet', 10, 3_274_634),
])
def test_parameters(program, network, num_classes, trainable):
  work = program('plan_scaling').work(network, 100.0, batch_size=8, optimizer='adam',
                                      num_classes=num_classes)
  assert (work.trainable, work.slots, work.exchanges) == (trainable, 2, 1)


def test_auxiliary_heads_are_exchanged(program):
  plan = program('plan_scaling')
  work = plan.work('inception_v3', 100.0, batch_size=8, optimizer='sgd', num_classes=10)
  # 2048 · 10 of the classifier; 768 · 128, 5 · 5 · 128 · 768 and 768 · 10 of the auxiliary head.
  assert work.trainable > 21_768_352 + 2048 * 10 + 768 * 128 + 25 * 128 * 768 + 768 * 10
  assert work.slots == 0 and work.others > 0


@pytest.fixture
def main(program, monkeypatch):
  """Calls the program with flags, by name."""
  module = program('plan_scaling')
  values = flags.FlagValues()
  with monkeypatch.context() as patch:
    patch.setattr(flags, 'FLAGS', values)
    for kind in ('string', 'integer', 'bool', 'float', 'multi_integer'):
      define = getattr(flags, f'DEFINE_{kind}')
      patch.setattr(flags, f'DEFINE_{kind}', functools.partial(define, flag_values=values))
    module.define_flags()

  def run(**given):
    values(['program', *(f'--{name}={value}' for name, several in (LENET | given).items()
                         for value in (several if isinstance(several, list) else [several]))])
    monkeypatch.setattr(module, 'FLAGS', values)
    return module.main()
  return run


LENET = {'model_name': 'lenet', 'batch_size': 10, 'images_per_second': 100, 'num_classes': 10}


def test_table(main, capsys):
  assert main(num_machines=[1, 2], link_gigabits=1, price=2, num_examples=360000, num_epochs=1,
              latency_microseconds=0) == 0
  _, headers, _, one, two = capsys.readouterr().out.splitlines()
  assert 'cost' in headers
  # 3,274,634 gradients of 4 bytes at 125 MB/s take 104.8 ms beside 100 ms.
  assert one.split() == ['1', '1', '10', '0.0', '100.0', '0.0', '100.0', '100', '100%', '12',
                         'computing', '1.0', '2']
  assert two.split() == ['2', '2', '20', '13.1', '100.0', '104.8', '204.8', '98', '49%', '11',
                         'exchange', '1.0', '4']


@pytest.mark.parametrize(('given', 'named'), [
  ({'num_machines': '2'}, '--link_gigabits'),
  ({'num_machines': '1', 'num_clones': 8}, '--gpu_link_gigabits'),
  ({'num_machines': '1', 'images_per_second': 0}, '--images_per_second'),
  ({'num_machines': '1', 'images_per_second': 'inf'}, '--images_per_second'),
  ({'num_machines': '1', 'images_per_second': 'nan'}, '--images_per_second'),
  ({'num_machines': '1', 'optimizer': 'none'}, '--optimizer'),
  ({'num_machines': '1', 'storage_megabytes': -1}, '--storage_megabytes'),
])
def test_mistakes(main, given, named):
  with pytest.raises(ValueError, match=named):
    main(**given)
