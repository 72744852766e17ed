"""Trained precision: number formats that are trained with the weights, at the price of the hardware."""
