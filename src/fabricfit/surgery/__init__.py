"""Removal of units across the layers of a model, as a dependency graph over units.

:mod:`~fabricfit.network.graph` reads the model, the families of
:mod:`~fabricfit.layers` say how units pass through each layer,
:mod:`~fabricfit.surgery.planning` chooses what can be removed, and
:mod:`~fabricfit.surgery.rebuild` builds the smaller model.
"""
