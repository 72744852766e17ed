"""Removal of units across the layers of a model, as a dependency graph over units.

:mod:`~fabricfit.keras.surgery.graph` reads the model, the rules of
:mod:`~fabricfit.keras.surgery.families` say how units pass through each layer,
:mod:`~fabricfit.keras.surgery.planning` chooses what can go, and
:mod:`~fabricfit.keras.surgery.rebuild` builds the smaller model.
"""
