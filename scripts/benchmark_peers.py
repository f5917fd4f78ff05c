"""The networks that other projects have too, by their names there."""

from __future__ import annotations

# Of timm, https://github.com/huggingface/pytorch-image-models. ResNets of another origin stride in
# other layers, which changes their multiply-adds.
TIMM = {
    'efficientnet_lite0': 'tf_efficientnet_lite0', 'efficientnet_lite1': 'tf_efficientnet_lite1',
    'efficientnet_lite2': 'tf_efficientnet_lite2', 'efficientnet_lite3': 'tf_efficientnet_lite3',
    'efficientnet_lite4': 'tf_efficientnet_lite4', 'inception_resnet_v2': 'inception_resnet_v2',
    'inception_v3': 'inception_v3', 'inception_v4': 'inception_v4',
    'mobilenet_v1': 'mobilenetv1_100', 'mobilenet_v2': 'mobilenetv2_100',
    'mobilenet_v2_140': 'mobilenetv2_140', 'mobilenet_v3_large': 'tf_mobilenetv3_large_100',
    'mobilenet_v3_large_minimalistic': 'tf_mobilenetv3_large_minimal_100',
    'mobilenet_v3_small': 'tf_mobilenetv3_small_100',
    'mobilenet_v3_small_minimalistic': 'tf_mobilenetv3_small_minimal_100',
    'nasnet_large': 'nasnetalarge', 'pnasnet_large': 'pnasnet5large',
    'resnet101_torchvision': 'resnet101', 'resnet152_torchvision': 'resnet152',
    'resnet50_torchvision': 'resnet50', 'resnet_v1_18': 'resnet18', 'resnet_v1_34': 'resnet34',
    'vgg_16': 'vgg16', 'vgg_19': 'vgg19', 'vgg_a': 'vgg11',
}
# Of keras.applications.
KERAS = {
    'inception_resnet_v2': 'InceptionResNetV2', 'inception_v3': 'InceptionV3',
    'mobilenet_v1': 'MobileNet', 'mobilenet_v2': 'MobileNetV2',
    'mobilenet_v3_large': 'MobileNetV3Large', 'mobilenet_v3_small': 'MobileNetV3Small',
    'nasnet_large': 'NASNetLarge', 'nasnet_mobile': 'NASNetMobile', 'resnet101_keras': 'ResNet101',
    'resnet152_keras': 'ResNet152', 'resnet50_keras': 'ResNet50',
    'resnet_v2_50': 'ResNet50V2', 'resnet_v2_101': 'ResNet101V2', 'resnet_v2_152': 'ResNet152V2',
    'vgg_16': 'VGG16', 'vgg_19': 'VGG19',
}
# Of tf_slim.nets: (module, arg scope); those with batch norm do not run on TensorFlow 2.21.
TF_SLIM = {
    'alexnet_v2': ('alexnet', 'alexnet_v2_arg_scope'),
    'overfeat': ('overfeat', 'overfeat_arg_scope'), 'vgg_16': ('vgg', 'vgg_arg_scope'),
    'vgg_19': ('vgg', 'vgg_arg_scope'), 'vgg_a': ('vgg', 'vgg_arg_scope'),
}
