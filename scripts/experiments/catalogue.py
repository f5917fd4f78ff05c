"""Classic transfer learning experiments, as lists of commands.

In the commands, `{data}` stands for the data, `{weights}` for the flags that name the weights,
`{work}` for the experiment's folder, `{run}` for the folder of one seed, and `{seed}` for the seed.
"""

from __future__ import annotations

import dataclasses

_BOTTLENECKS = 'https://github.com/udacity/CarND-Transfer-Learning-Lab'
_ADAM = '--optimizer=adam --opt_epsilon=1e-8 --learning_rate_decay_type=fixed --seed={seed}'
_FOLDER = '--dataset_name=folder --dataset_dir={data}'
_RECIPES = '--flagfile=scripts/recipes'


@dataclasses.dataclass(frozen=True)
class Experiment:
  """One experiment.

  Attributes:
    title: description.
    data: what --data has to be.
    weights: what --weights has to be.
    commands: commands to run for each seed; the last one trains and validates.
    published: published accuracy, with the data and the source; '' if there is none.
    prepare: commands to run once, first.
    seeds: random seeds.
    measured: folder whose `metrics.csv` has the accuracy.
  """
  title: str
  data: str
  weights: str
  commands: tuple[str, ...]
  published: str = ''
  prepare: tuple[str, ...] = ()
  seeds: tuple[int, ...] = (0,)
  measured: str = '{run}'


def _bottlenecks(end_point: str, extraction: str, weights: str, *, accuracy: str) -> Experiment:
  """A classifier on the features of 100 images per class of CIFAR-10."""
  extract = (f'extract_features.py {{weights}} {extraction} --end_point={end_point} '
             '--dataset_name=folder --dataset_dir={work}/images --batch_size=32')
  return Experiment(
      'a softmax classifier on bottleneck features, 100 images per class; tested on 2,000 '
      'others',
      "a folder with CIFAR-10's TFRecords, from download_and_convert_data.py", weights,
      (f'train_on_features.py --training_file={{work}}/train.npz --epochs=50 --batch_size=32 '
       f'--validation_file={{work}}/validation.npz --train_dir={{run}} --export=none '
       f'--learning_rate=0.001 --weight_decay=0 {_ADAM}',),
      f'{accuracy} on 10,000 held-out training images ({_BOTTLENECKS})',
      ('scripts/experiments/cifar10_subset.py --dataset_dir={data} --output_dir={work}/images '
       '--test_images_per_class=200',
       *(f'{extract} --dataset_split_name={split} --output_path={{work}}/{split}.npz'
         for split in ('train', 'validation'))))


def _codes(end_point: str, network: str, weights: str, *, published: str = '') -> Experiment:
  """A classifier on the features of all flowers, of which a tenth of each class is held out."""
  return Experiment(
      f"a softmax classifier on {network}'s pooled {end_point}; tested on a tenth of each "
      'class, three splits',
      'a directory with one folder of photos per class', weights,
      ('scripts/experiments/split_features.py --features={work}/all.npz --seed={seed} '
       '--output_dir={run}',
       'train_on_features.py --training_file={run}/train.npz --validation_file={run}/test.npz '
       '--train_dir={run}/classifier --export=none --epochs=30 --batch_size=32 '
       f'--learning_rate=0.001 --weight_decay=0 {_ADAM}'),
      published,
      (f'extract_features.py {{weights}} --model_name={network} --end_point={end_point} {_FOLDER} '
       '--validation_fraction=0 --dataset_split_name=train --batch_size=32 '
       '--output_path={work}/all.npz',),
      (0, 1, 2), '{run}/classifier')


EXPERIMENTS = {
    'vgg_16_codes_on_flowers': _codes(
        'pool5', 'vgg_16', 'the convolutions of vgg_16',
        published='0.954 on a test split, with features from relu6 (udacity/deep-learning, '
        'transfer-learning)'),
    'inception_v3_codes_on_flowers': _codes('AvgPool_1a', 'inception_v3', 'inception_v3'),
    'resnet50_keras_codes_on_flowers': _codes('global_pool', 'resnet50_keras', "Keras' ResNet-50"),
    'vgg_16_bottlenecks_on_cifar10': _bottlenecks(
        'pool5', '--model_name=vgg_16', 'the convolutions of vgg_16', accuracy='0.7235'),
    'inception_v3_bottlenecks_on_cifar10': _bottlenecks(
        'AvgPool_1a', '--model_name=inception_v3', 'inception_v3', accuracy='0.6556'),
    'resnet50_keras_bottlenecks_on_cifar10': _bottlenecks(
        'global_pool', '--model_name=resnet50_keras', "Keras' ResNet-50", accuracy='0.7347'),
    'alexnet_on_gtsrb': Experiment(
        "a new fc8 of Caffe's AlexNet on traffic signs, everything below it frozen",
        'train.p, pickled features [n, 32, 32, 3] and labels 0 to 42', 'bvlc_alexnet.npy',
        (f'train_image_classifier.py {_RECIPES}/finetune_alexnet_on_gtsrb_head.flags {{weights}} '
         '--dataset_dir={data} --train_dir={run} --seed={seed}',)),
    'alexnet_from_a_list': Experiment(
        "a new fc8 of Caffe's AlexNet, then fc6 to fc8, from a list of `path label`",
        'such a list, of dogs and cats', 'bvlc_alexnet.npy',
        (f'train_image_classifier.py {_RECIPES}/finetune_alexnet_on_a_list.flags {{weights}} '
         '--dataset_dir={data} --train_dir={run} --seed={seed}',),
        '0.9545 after the first epoch, dogs against cats '
        '(https://github.com/kratzert/finetune_alexnet_with_tensorflow)', measured='{run}/phase_2'),
    'mobilenet_v1_from_a_list': Experiment(
        'a new last layer of MobileNetV1, from a list of `path label`',
        'a folder with a folder of photos a class', 'mobilenet_v1',
        ('train_image_classifier.py {weights} --model_name=mobilenet_v1 --dataset_name=csv '
         '--dataset_dir={work}/train.txt --checkpoint_exclude_scopes=MobilenetV1/Logits '
         '--trainable_scopes=MobilenetV1/Logits --train_dir={run} --epochs=5 --batch_size=32 '
         '--augmentations_per_image=0 --optimizer=rmsprop --learning_rate=0.01 '
         '--weight_decay=0.00004 --seed={seed}',),
        prepare=('scripts/experiments/write_list.py --dataset_dir={data} '
                 '--output_path={work}/train.txt',)),
    'own_layers_from_train_csv': Experiment(
        "custom fully connected layers (256, dropout 0.5) on MobileNetV1's frozen "
        'convolutions, from train.csv with the path in the first column',
        'a folder with a folder of photos a class', 'mobilenet_v1',
        ('train_image_classifier.py {weights} --model_name=mobilenet_v1 --dataset_name=csv '
         '--dataset_dir={work}/lists --head=pool,fc:256,dropout:0.5,fc '
         '--head_from=Conv2d_13_pointwise --trainable_scopes=head --train_dir={run} --epochs=20 '
         f'--batch_size=32 --augmentations_per_image=0 --learning_rate=0.001 {_ADAM}',),
        prepare=('scripts/experiments/write_list.py --dataset_dir={data} '
                 '--output_path={work}/lists/train.csv',)),
    'mobilenet_v1_on_flowers': Experiment(
        'a new last layer of MobileNetV1 for 20 epochs, then all but batch norm for 2; three seeds',
        'a folder with a folder of photos a class', 'mobilenet_v1',
        (f'train_image_classifier.py {{weights}} --model_name=mobilenet_v1 {_FOLDER} '
         f'--train_dir={{run}} --batch_size=32 {_ADAM} --weight_decay=0.00004 --phases='
         '"checkpoint_exclude_scopes=MobilenetV1/Logits trainable_scopes=MobilenetV1/Logits '
         # Batch norm's moving averages, with a decay of 0.9997, would lag behind the weights.
         'augmentations_per_image=0 learning_rate=0.001 epochs=20; learning_rate=0.00005 '
         'learning_rate_multipliers=*/BatchNorm:0 epochs=2"',),
        seeds=(0, 1, 2), measured='{run}/phase_2'),
}
