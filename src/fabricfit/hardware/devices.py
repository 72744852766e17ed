"""Boards and parts that hls4ml's users have, and what is on them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from fabricfit.checks import instance, mapping, number, text
from fabricfit.errors import InvalidInputError, spell
from fabricfit.hardware.families import find_family
from fabricfit.hardware.resource_records import amount_names, in_base_units

__all__ = [
    "Device",
    "devices",
    "family_of_part",
    "find_device",
    "normalize_name",
    "register_device",
]


@dataclass(frozen=True)
class Device:
    """What a part has.

    Parameters
    ----------
    name
        The board, or the part where it stands for itself.
    part
        The part on it.
    family
        A name of :func:`fabricfit.hardware.families`.
    dsp
        DSP blocks.
    bram36
        Blocks of 36 kbit; of Intel's parts the M20K blocks, halved, so that twice this number are there.
    uram
        UltraRAM blocks of 288 kbit.
    lut, ff
        Look-up tables and flip-flops; of Intel's parts ALUTs (two for each ALM) and registers.
    clock_ns
        Its usual clock period in nanoseconds.
    others
        Name of a resource that was registered -> how much of it there is.

    Raises
    ------
    InvalidInputError
        A number is negative, or the family is not known.
    """

    name: str
    part: str
    family: str
    dsp: int
    bram36: float
    uram: int
    lut: int
    ff: int
    others: Mapping[str, float] = field(default_factory=dict, hash=False)
    clock_ns: float = 5.0

    def __post_init__(self) -> None:
        text("name", self.name)
        text("part", self.part)
        find_family(text("family", self.family))
        mapping("others", self.others)
        number("clock_ns", self.clock_ns, above=0)
        self.amounts  # noqa: B018 - checks the numbers

    @property
    def amounts(self) -> dict[str, float]:
        """Resource -> how much of it there is, in the order in which tables show resources."""
        known = {n: getattr(self, n) for n in amount_names() if hasattr(self, n)}
        return in_base_units({**known, **self.others})


_DEVICES: dict[str, Device] = {}


def register_device(device: Device) -> Device:
    """Make a device known by its name, in any case; a known one is replaced."""
    instance("device", device, Device)
    _DEVICES[normalize_name(device.name)] = device
    return device


def devices() -> tuple[Device, ...]:
    """Return all known devices."""
    return tuple(_DEVICES.values())


def find_device(name: str) -> Device:
    """Return a device by the name of the board or of the part, in any case.

    Parameters
    ----------
    name
        ``'pynq-z2'``, ``'xc7z020'``, also a full part number such as ``'xc7z020clg400-1'``.

    Raises
    ------
    InvalidInputError
        No such device is known; the message names those that are spelled alike.
    """
    wanted = normalize_name(text("device", name))
    if wanted in _DEVICES:
        return _DEVICES[wanted]
    parts = {normalize_name(device.part): device for device in reversed(_DEVICES.values())}
    for part in sorted(parts, key=len, reverse=True):
        if wanted.startswith(part):
            return parts[part]
    near = difflib.get_close_matches(wanted[:80], [*_DEVICES, *parts], n=3, cutoff=0.5)
    alike = [_DEVICES[key].name if key in _DEVICES else parts[key].part for key in near]
    hint = f" Did you mean {', '.join(map(repr, alike))}?" if alike else ""
    raise InvalidInputError(
        "device must be one that 'fabricfit devices' or fabricfit.hardware.devices() lists, or be "
        f"added with register_device(). Received: {spell(name)}.{hint}"
    )


def family_of_part(part: str) -> str:
    """Return the family of a part, by the device it is on or else by how its number begins.

    Parameters
    ----------
    part
        A part number, such as hls4ml's default ``'xcvu13p-flga2577-2-e'``.

    Raises
    ------
    InvalidInputError
        Nothing is known of such parts.
    """
    try:
        return find_device(part).family
    except InvalidInputError:
        for pattern, family in _PART_NUMBERS.items():
            if re.match(pattern, normalize_name(part)):
                return family
        raise


_PART_NUMBERS = {
    r"x[acq]7": "7series",
    r"xc[kv]u\d+p|x[acq]zu|xck\d|xcu\d|x[ac]au": "ultrascale+",
    r"xc[kv]u\d": "ultrascale",
    r"xcv[cmpeh]": "versal",
    r"10[ac]": "arria10",
    r"1s[gxm]": "stratix10",
    r"ag[fim]": "agilex7",
}
"""How part numbers begin -> their family."""


def normalize_name(name: str) -> str:
    """Return a name in small letters and digits only."""
    return "".join(letter for letter in str(name).lower() if letter.isalnum())


_TABLE = (
    # AMD DS190 (Zynq-7000) and DS180 (7 series).
    ("PYNQ-Z2", "xc7z020", "7series", 220, 140, 0, 53_200, 106_400),
    ("PYNQ-Z1", "xc7z020", "7series", 220, 140, 0, 53_200, 106_400),
    ("Zybo Z7-10", "xc7z010", "7series", 80, 60, 0, 17_600, 35_200),
    ("Zybo Z7-20", "xc7z020", "7series", 220, 140, 0, 53_200, 106_400),
    ("ZC706", "xc7z045", "7series", 900, 545, 0, 218_600, 437_200),
    ("Arty A7-35T", "xc7a35t", "7series", 90, 50, 0, 20_800, 41_600),
    ("Arty A7-100T", "xc7a100t", "7series", 240, 135, 0, 63_400, 126_800),
    ("VC707", "xc7vx485t", "7series", 2_800, 1_030, 0, 303_600, 607_200),
    ("VC709", "xc7vx690t", "7series", 3_600, 1_470, 0, 433_200, 866_400),
    # AMD DS890 (UltraScale) and DS891 (Zynq UltraScale+).
    ("KCU1500", "xcku115", "ultrascale", 5_520, 2_160, 0, 663_360, 1_326_720),
    ("Ultra96", "xczu3eg", "ultrascale+", 360, 216, 0, 70_560, 141_120),
    ("ZCU104", "xczu7ev", "ultrascale+", 1_728, 312, 96, 230_400, 460_800),
    ("ZCU102", "xczu9eg", "ultrascale+", 2_520, 912, 0, 274_080, 548_160),
    ("KV260", "xck26", "ultrascale+", 1_248, 144, 64, 117_120, 234_240),
    ("ZCU111", "xczu28dr", "ultrascale+", 4_272, 1_080, 80, 425_280, 850_560),
    ("RFSoC4x2", "xczu48dr", "ultrascale+", 4_272, 1_080, 80, 425_280, 850_560),
    # AMD DS890 (Virtex UltraScale+) and DS962, DS963, DS978 (Alveo).
    ("VCU118", "xcvu9p", "ultrascale+", 6_840, 2_160, 960, 1_182_240, 2_364_480),
    ("VU13P", "xcvu13p", "ultrascale+", 12_288, 2_688, 1_280, 1_728_000, 3_456_000),
    ("Alveo U50", "xcu50", "ultrascale+", 5_952, 1_344, 640, 872_000, 1_743_000),
    ("Alveo U55C", "xcu55c", "ultrascale+", 9_024, 2_016, 960, 1_304_000, 2_607_000),
    ("Alveo U200", "xcu200", "ultrascale+", 6_840, 2_160, 960, 1_182_240, 2_364_480),
    ("Alveo U250", "xcu250", "ultrascale+", 12_288, 2_688, 1_280, 1_728_000, 3_456_000),
    ("Alveo U280", "xcu280", "ultrascale+", 9_024, 2_016, 960, 1_303_680, 2_607_360),
    # AMD DS950 (Versal).
    ("VCK190", "xcvc1902", "versal", 1_968, 967, 463, 899_840, 1_799_680),
    # Intel: product tables of Arria 10 and Stratix 10; M20K counted in halves.
    ("Arria 10 GX 1150", "10ax115", "arria10", 1_518, 2_713 / 2, 0, 854_400, 1_708_800),
    ("Stratix 10 GX 2800", "1sg280", "stratix10", 5_760, 11_721 / 2, 0, 1_866_240, 3_732_480),
)  # fmt: skip

_USUAL_CLOCKS = {"7series": 10.0}
"""Family -> usual clock period in nanoseconds, where it is not hls4ml's default of 5."""

for _row in _TABLE:
    _clock = _USUAL_CLOCKS.get(_row[2], 5.0)
    register_device(replace(Device(*_row), clock_ns=_clock))
