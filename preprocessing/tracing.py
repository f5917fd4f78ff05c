"""Tracing of functions of image files."""

from __future__ import annotations

import functools

import tensorflow as tf

_FILE = [tf.TensorSpec([], tf.string)]

# A function of a scalar string that is traced once per process, instead of in every dataset's
# graph, which takes one or two seconds. Without AutoGraph: rewriting the source of the decoders
# would take four seconds at the start of every program.
once = functools.partial(tf.function, input_signature=_FILE, autograph=False)

# Also not inlined into the graphs that call it, for what few files need: TensorFlow processes all
# ops of a graph, even those of branches that are not taken.
apart = functools.partial(once, experimental_attributes={'_noinline': True})
