"""A Keras model as data: its layers, kernels and graph."""
