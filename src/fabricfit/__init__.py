"""fabricfit: make a trained Keras model fit an FPGA."""
