"""The progress of a run: a bar on a terminal, lines in a log."""

from __future__ import annotations

import io

import pytest

from slim_zoo.training import progress


class _Terminal(io.StringIO):
  def isatty(self):
    return True


@pytest.mark.parametrize(('stdout', 'stderr', 'has_lines'), [
  (_Terminal, _Terminal, False),
  (io.StringIO, _Terminal, True),  # As with `| tee log`.
  (_Terminal, io.StringIO, True),
  (io.StringIO, io.StringIO, True),
])
def test_lines_are_printed_to_a_log(monkeypatch, stdout, stderr, has_lines):
  out, errors = stdout(), stderr()
  monkeypatch.setattr('sys.stdout', out)
  monkeypatch.setattr('sys.stderr', errors)
  shown = progress.Progress(first_step=0, last_step=10, batch_size=4)
  shown.advance(1, 60.0, 'loss 9.0')  # The first call compiles.
  shown.advance(5, 1.0, 'loss 1.0')
  shown.log('loss 1.0')
  shown.say('validation at step 5')
  shown.close()
  lines = ['step 5/10: loss 1.0, 0.3279 images/s, 00:00 left'] if has_lines else []
  assert out.getvalue().splitlines() == [*lines, 'validation at step 5']
  assert ('5/10, loss 1.0, 16 images/s, 00:00 left' in errors.getvalue()) == (not has_lines)
