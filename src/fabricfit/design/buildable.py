"""What hls4ml builds of a network, by the table of its limits: asked before designs and of each of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fabricfit.description.attributes import LayerAttributes
from fabricfit.hls4ml.findings import Finding
from fabricfit.network.buildable import list_limits, refuse_limits
from fabricfit.network.describe import describe_for_hls4ml
from fabricfit.network.reader import Network

__all__ = ["Buildable"]

_PURPOSE = "fabricfit.explore"


@dataclass(frozen=True)
class Buildable:
    """The limits of hls4ml that a network meets.

    Parameters
    ----------
    network
        The network.
    """

    network: Network

    def refuse(self, attributes: Mapping[str, LayerAttributes], config: Mapping[str, Any]) -> None:
        """Refuse what hls4ml does not build with any strategy and reuse factor of the layers.

        Parameters
        ----------
        attributes, config
            Layer -> attributes, and the configuration that they were read with.

        Raises
        ------
        InvalidInputError
            There is such a layer.
        """
        undecided = {name: layer.without_hls4ml() for name, layer in attributes.items()}
        refuse_limits(list_limits(self.network, undecided, config), _PURPOSE)

    def find_wrong(self, config: Mapping[str, Any]) -> tuple[Finding, ...]:
        """Return what hls4ml does not build of the network with the configuration of a design.

        Parameters
        ----------
        config
            The configuration.
        """
        attributes = describe_for_hls4ml(self.network, config)
        found = list_limits(self.network, attributes, config)
        return tuple(finding for finding in found if finding.limit.is_wrong)
