"""Calls on a device for operands in the CPU's memory: how large a slice is, and when "auto" takes the device."""

SLICE_BYTES = 16 << 20  # of operands and result together, that go over and back at a time


def choose(*facts):
    """Without facts: the number of the device that "auto" may take, or None.  With them: whether it is sooner."""
    from . import _ceilings

    return _ceilings.is_sooner(*facts) if facts else _ceilings.device()
