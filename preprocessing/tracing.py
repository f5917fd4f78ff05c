"""How functions of image files are traced."""

from __future__ import annotations

import functools

import tensorflow as tf

_FILE = [tf.TensorSpec([], tf.string)]

# A function of a scalar string that is traced once a process, and not again in every data set's
# graph, which takes a second or two.
once = functools.partial(tf.function, input_signature=_FILE)

# One that is not copied into the graphs that call it, either. For what few files need: TensorFlow
# goes through all operations of a graph, also of branches that are not taken.
apart = functools.partial(once, experimental_attributes={'_noinline': True})
