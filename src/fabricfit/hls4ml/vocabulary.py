"""Words of hls4ml's configurations: the keys that it reads, their values, and the types of its layers.

Established on hls4ml 1.3. A test compares the keys of layers with those that the installed hls4ml declares.
"""

from __future__ import annotations

__all__ = [
    "ACTIVATIONS",
    "CHOICES",
    "FLAGS",
    "HELPER_TYPES",
    "KEEPS_NAME",
    "LAYER_KEYS",
    "MODEL_KEYS",
    "NUMBERS",
    "PRECISIONS",
    "PROJECT_KEYS",
    "SECTIONS",
]

SECTIONS = (
    *("Model", "LayerName", "LayerType"),
    *("Flows", "Optimizers", "SkipOptimizers", "IOType", "InputShape"),
)
"""Keys of a configuration of the layers."""

PROJECT_KEYS = (
    *("HLSConfig", "IOType", "OutputDir", "ProjectName", "ProjectDir", "Backend", "Version"),
    *("Part", "Board", "ClockPeriod", "ClockUncertainty", "Stamp", "TraceOutput", "WriterConfig"),
    *("KerasModel", "KerasH5", "KerasJson", "OnnxModel", "PytorchModel", "InputShape"),
    *("InputData", "OutputPredictions", "AcceleratorConfig", "Compiler", "HyperoptHandshake"),
    *("ASICLibs", "Technology", "FIFO", "MaximumSize", "HLSIncludePath", "HLSLibsPath"),
    *("FPGAFamily", "SmartHLSPath", "Expression", "NSymbols", "StitchedProjectName"),
    *("OriginalProjectName", "InputShapes", "OutputShapes"),
)
"""Keys of a whole project's configuration, which holds that of the layers under ``'HLSConfig'``."""

MODELS = ("KerasModel", "OnnxModel", "PytorchModel")
"""Keys of a project under which its model stands."""

_EVERYWHERE = (
    *("Precision", "ReuseFactor", "Strategy", "TargetCycles", "Compression"),
    *("ConvImplementation", "ParallelizationFactor", "Implementation"),
)

MODEL_KEYS = (
    *_EVERYWHERE,
    *("BramFactor", "TraceOutput", "PipelineStyle", "PipelineInterval", "BitExact"),
    *("ChannelsLastConversion", "TransposeOutputs", "AllowDAFallback", "AllowV2Fallback"),
)
"""Keys of the section of the model."""

LAYER_KEYS = (
    *_EVERYWHERE,
    *("Trace", "Skip", "Static", "TableSize", "TableRangePower2", "TimeStepLoopParallelism"),
    *("RecurrentReuseFactor", "DepthwiseReuseFactor", "PointwiseReuseFactor"),
    *("ForwardReuseFactor", "ForwardRecurrentReuseFactor"),
    *("BackwardReuseFactor", "BackwardRecurrentReuseFactor"),
    *("Algorithm", "Direction", "ExpRange", "Axis", "Threshold", "ActivParam"),
)
"""Keys of the section of a layer or of a type."""

PRECISIONS = (
    *("default", "result", "weight", "bias", "accum", "scale", "shift", "slope", "param"),
    *("table", "exp_table", "inv_table", "inv_inp", "embeddings", "kernel", "activation", "input"),
    *("depthwise", "depthwise_accum", "depthwise_result", "dw_output"),
    *("pointwise", "pointwise_accum", "pointwise_result", "recurrent", "state"),
    *("recurrent_weight", "recurrent_bias", "forward_weight", "forward_bias"),
    *("forward_recurrent_weight", "forward_recurrent_bias", "backward_weight", "backward_bias"),
    *("backward_recurrent_weight", "backward_recurrent_bias"),
    *("gamma", "beta", "mean", "variance", "alpha", "mult", "sum", "maximum"),
    *("aggr", "norm", "edge_weight", "edge_weight_aggr", "input_t", "output"),
)
"""Numbers of a layer that have a precision of their own."""

NUMBERS = (
    *("ReuseFactor", "TargetCycles", "ParallelizationFactor", "TableSize", "PipelineInterval"),
    *("RecurrentReuseFactor", "DepthwiseReuseFactor", "PointwiseReuseFactor"),
    *("ForwardReuseFactor", "ForwardRecurrentReuseFactor"),
    *("BackwardReuseFactor", "BackwardRecurrentReuseFactor"),
)
"""Keys whose values are whole numbers of at least 1, which C++ has as ``unsigned``."""

FLAGS = (
    *("Trace", "Skip", "Static", "Compression", "TraceOutput", "BitExact", "TransposeOutputs"),
    *("AllowDAFallback", "AllowV2Fallback"),
)
"""Keys whose values are true or false, also as 1 and 0."""

CHOICES = {
    "ConvImplementation": ("LineBuffer", "Encoded"),
    "PipelineStyle": ("auto", "pipeline", "dataflow"),
    "Implementation": ("latency", "stable", "argmax", "legacy"),
    "TimeStepLoopParallelism": ("Off", "Unroll", "Pipeline"),
    "ChannelsLastConversion": ("full", "internal", "off"),
    "Algorithm": ("nearest", "bilinear"),
    "Direction": ("forward", "backward"),
}
"""Key -> the values that it may have."""

SOFTMAX_STRATEGIES = ("stable", "argmax", "legacy")
"""Values of ``'Strategy'`` in sections of a softmax, as older versions of hls4ml wrote them."""

ACTIVATIONS = (
    *("elu", "gelu", "hard_sigmoid", "hard_tanh", "leaky_relu", "linear", "relu", "relu6"),
    *("selu", "sigmoid", "silu", "softmax", "softplus", "softsign", "tanh", "swish"),
)
"""hls4ml splits a layer's activation off as ``<layer>_<activation>``."""

HELPER_TYPES = (
    *("Activation", "ApplyAlpha", "Broadcast", "Clone", "Constant", "ELU", "FixedPointQuantizer"),
    *("HardActivation", "Input", "InputLayer", "LeakyReLU", "Merge", "PReLU", "QActivation"),
    *("Repack", "Reshape", "Resize", "Softmax", "TernaryTanh", "ThresholdedReLU", "Transpose"),
    *("BatchNormalizationQuantizedTanh", "UnaryLUT", "ZeroPadding1D", "ZeroPadding2D"),
)
"""Types of layers that hls4ml makes of its own accord, or of many."""

KEEPS_NAME = (
    *("Activation", "BatchNormalization", "Concatenate", "Dot", "Embedding", "LayerNormalization"),
    *("PReLU", "Reshape", "Softmax", "ZeroPadding1D", "ZeroPadding2D"),
)
"""Classes of Keras layers without a product whose type hls4ml calls by the same name."""

BECOMES = {
    "SeparableConv": ("DepthwiseConv", "PointwiseConv", "Conv"),
    "Conv": ("PointwiseConv", "Conv"),
    "Dense": ("PointwiseConv",),
    "Max": ("Pooling", "GlobalPooling"),
    "Average": ("Pooling", "GlobalPooling"),
}
"""Beginning of a type's name -> beginnings of the types of hls4ml that such a layer may become."""
