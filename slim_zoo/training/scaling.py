"""How long the steps of a run on many machines take: a model in closed form.

A step computes, and then exchanges the gradients; TensorFlow packs them together, so that nothing
is exchanged before the last one is there. The replicas form a ring, in which each sends and
receives 2 (n - 1) / n of the gradients (Patarasuk and Yuan 2009,
https://doi.org/10.1016/j.jpdc.2008.09.002); the slowest link of the ring sets its speed. Batches
are read while the step is made. docs/scaling.md compares the model with measurements.
"""

from __future__ import annotations

import dataclasses
import math

_BYTES = 4  # Variables, gradients and slots are float32, whatever the layers compute in.
_SAVING_INTERVAL = 600.0  # Seconds between checkpoints; the default of --save_interval_secs.


@dataclasses.dataclass(frozen=True)
class Work:
  """What a run has to do.

  Attributes:
    trainable: number of trained parameters, with those of auxiliary heads.
    others: number of parameters that are not trained, such as batch norm's averages.
    slots: number of slots of the optimizer for each trained parameter.
    exchanges: how often a step exchanges the gradients: twice with clipping, otherwise once.
    batch_size: of each replica.
    images_per_second: of one replica that trains alone.
    image_bytes: mean size of the file of an image.
    num_images: that the run trains on, over all of its epochs.
  """
  trainable: int
  others: int
  slots: int
  exchanges: int
  batch_size: int
  images_per_second: float
  image_bytes: float
  num_images: float


@dataclasses.dataclass(frozen=True)
class Cluster:
  """What the machines have; speeds in bytes per second, infinite if they do not matter.

  Attributes:
    replicas: of each machine.
    link: speed of a machine's network, in each direction.
    inner_link: speed of the connection between the GPUs of a machine, in each direction.
    latency: seconds from one machine to the next.
    storage: speed of the file system that all machines share.
    reading: images per second that one machine can read, decode and preprocess.
    price: of one machine for an hour, in any currency.
  """
  replicas: int = 1
  link: float = math.inf
  inner_link: float = math.inf
  latency: float = 0.0
  storage: float = math.inf
  reading: float = math.inf
  price: float = 0.0


@dataclasses.dataclass(frozen=True)
class Plan:
  """What a number of machines would do; times in seconds.

  Attributes:
    replicas: of all machines.
    batch_size: the global one.
    exchanged_bytes: sent by each replica in each step; as many are received.
    compute: time of the step without exchange.
    exchange: time of the exchange.
    reading: time in which the batch of a step is read.
    step: time of a step.
    images_per_second: of all machines.
    efficiency: speed relative to as many replicas that train alone.
    read_bytes: per second, of all machines.
    limit: what takes the most time: 'computing', 'exchange' or 'reading'.
    checkpoint_bytes: size of a checkpoint.
    checkpoint: time to write it, in which no step is made.
    total: time of the run, with its checkpoints.
    cost: of the run.
  """
  replicas: int
  batch_size: int
  exchanged_bytes: float
  compute: float
  exchange: float
  reading: float
  step: float
  images_per_second: float
  efficiency: float
  read_bytes: float
  limit: str
  checkpoint_bytes: int
  checkpoint: float
  total: float
  cost: float


def plan(work: Work, cluster: Cluster, machines: int) -> Plan:
  """Predicts a run on a number of machines."""
  replicas = machines * cluster.replicas
  batch_size = replicas * work.batch_size
  sent = work.exchanges * 2 * (replicas - 1) / replicas * work.trainable * _BYTES
  speed = min(cluster.link if machines > 1 else math.inf,
              cluster.inner_link if cluster.replicas > 1 else math.inf)
  compute = work.batch_size / work.images_per_second
  # Machines are passed one after the other, twice, whatever the size.
  exchange = sent / speed + work.exchanges * 2 * (machines - 1) * cluster.latency
  reading = batch_size * max(work.image_bytes / cluster.storage, 1 / (machines * cluster.reading))
  step = max(compute + exchange, reading)
  checkpoint_bytes = _BYTES * (work.trainable * (1 + work.slots) + work.others)
  checkpoint = checkpoint_bytes / cluster.storage
  rate = batch_size / step
  total = work.num_images / rate * (1 + checkpoint / _SAVING_INTERVAL)
  if step == reading:
    limit = 'reading'
  else:
    limit = 'computing' if compute >= exchange else 'exchange'
  return Plan(replicas=replicas, batch_size=batch_size, exchanged_bytes=sent, compute=compute,
              exchange=exchange, reading=reading, step=step, images_per_second=rate,
              efficiency=compute / step, read_bytes=rate * work.image_bytes, limit=limit,
              checkpoint_bytes=checkpoint_bytes, checkpoint=checkpoint, total=total,
              cost=total / 3600 * machines * cluster.price)
