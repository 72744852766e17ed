"""The layers of Keras that hls4ml 1.3 has converters for, and other facts of its code."""

from __future__ import annotations

__all__ = ["CONVERTED", "CONVERTED_QKERAS", "LARGEST_UNROLLED", "NOISE"]

CONVERTED = frozenset((
    "Activation", "Add", "AlphaDropout", "Average", "AveragePooling1D", "AveragePooling2D",
    "AveragePooling3D", "BatchNormalization", "Bidirectional", "Concatenate", "Conv1D", "Conv2D",
    "Cropping1D", "Cropping2D", "Dense", "DepthwiseConv1D", "DepthwiseConv2D", "Dot", "Dropout",
    "ELU", "EinsumDense", "Embedding", "Flatten", "GRU", "GaussianDropout",
    "GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalAveragePooling3D",
    "GlobalMaxPooling1D", "GlobalMaxPooling2D", "GlobalMaxPooling3D", "InputLayer", "LSTM",
    "LayerNormalization", "LeakyReLU", "MaxPooling1D", "MaxPooling2D", "MaxPooling3D", "Maximum",
    "Minimum", "Multiply", "PReLU", "Permute", "RandomBrightness", "RandomColorDegeneration",
    "RandomColorJitter", "RandomContrast", "RandomCrop", "RandomElasticTransform", "RandomErasing",
    "RandomFlip", "RandomGaussianBlur", "RandomGrayscale", "RandomHue", "RandomInvert",
    "RandomPerspective", "RandomPosterization", "RandomRotation", "RandomSaturation",
    "RandomSharpness", "RandomShear", "RandomTranslation", "RandomZoom", "ReLU", "Reshape",
    "SeparableConv1D", "SeparableConv2D", "SimpleRNN", "Softmax", "SpatialDropout1D",
    "SpatialDropout2D", "SpatialDropout3D", "Subtract", "TimeDistributed", "UpSampling1D",
    "UpSampling2D", "ZeroPadding1D", "ZeroPadding2D",
))  # fmt: skip
"""Classes of Keras' layers, as their names are in Keras 3."""

CONVERTED_QKERAS = frozenset((
    "QActivation", "QBatchNormalization", "QConv1D", "QConv2D", "QConv2DBatchnorm", "QDense",
    "QDepthwiseConv2D", "QGRU", "QLSTM", "QSeparableConv1D", "QSeparableConv2D", "QSimpleRNN",
))  # fmt: skip
"""Classes of QKeras' layers."""

NOISE = ("ActivityRegularization", "GaussianNoise", "Identity")
"""Layers without a converter that hand numbers on when they do not train."""

LARGEST_UNROLLED = 4096
"""Most numbers of an array that the projects of hls4ml allow to be partitioned (``build_prj.tcl``)."""
