"""What a call on a device takes by its ceilings, copies included; and so whether "auto" takes the device.

The model is that of the binding: a call goes over, is computed and comes back; in slices, where the slowest of copying
over, computing, copying back and the CPU's copies to and from pinned memory hides the others.
"""

from . import _ceilings

NONE = f"no ceilings recorded: run {_ceilings.TUNE}"


def rates(explained):
    """({name: rate per second} of the device of an explained call, None), or (None, why there are none)."""
    entry, why = _ceilings.load()
    if entry is None:
        return None, f"{NONE} ({why})"
    number = int(explained["device"].removeprefix("cuda:"))
    for device in entry.get("devices", ()):
        # The library's text has the driver's name for the device behind its number.
        if device["id"] == number and f"({device['name']}, " in explained["device_name"]:
            return {ceiling["name"]: ceiling["rate"] for ceiling in device["ceilings"]}, None
    return None, f"{NONE} (those of {entry['date']} have none of {explained['device_name']})"


def _missing(rates, *names):
    """Why there is no time, if a ceiling of the device among these is not there; or None."""
    absent = [repr(name) for name in names if name not in rates]
    return f"no ceiling {', '.join(absent)} of the device; {_ceilings.TUNE} measures anew" if absent else None


def floor(explained):
    """As _ceilings.floor, for a call whose operands live on a device."""
    found, why = rates(explained)
    amounts = {"copy": ("copy on the device", explained["bytes"])}
    if explained["op"] in _ceilings.PRODUCTS:
        kind = "u8s8" if explained["dtypes"][1] == "s8" else explained["dtypes"][0]
        amounts[kind] = (f"{kind} products", explained["operations"])
    why = why or _missing(found, *amounts)
    if why:
        return {"seconds": None, "why": why}
    parts = {part: amount / found[name] for name, (part, amount) in amounts.items()}
    limit = max(parts, key=parts.get)
    return {"seconds": parts[limit], "limit": limit, "parts": parts}


def transfer(explained, threads, once, over, back, slices):
    """What the call moves, in how many slices, and the seconds of each part; None, and why, without ceilings."""
    figures = {
        "bytes over once": int(once),
        "bytes over": int(over),
        "bytes back": int(back),
        "slices": slices,
    }
    found, why = rates(explained)
    computed = floor(explained)
    why = why or _missing(found, "to", "from", "calls") or computed.get("why")
    entry, _ = _ceilings.load()
    staging = None if why else _ceilings.rate_of(entry, "copy", threads)
    if staging is None:
        why = why or f"no ceiling 'copy' is among those of {entry['date']}; {_ceilings.TUNE} measures anew"
        return {**figures, "seconds": None, "why": why}
    compute, staged = computed["seconds"], 2 * (over + back) / staging  # read and written
    parts = {
        "once": once / found["to"],
        "over": over / found["to"],
        "compute": compute,
        "back": back / found["from"],
        "staging": staged,
    }
    hidden = max(parts["over"], compute, parts["back"], staged)
    all_parts = parts["over"] + compute + parts["back"] + staged
    seconds = 1 / found["calls"] + parts["once"] + hidden + (all_parts - hidden) / slices
    return {**figures, "seconds": seconds, "parts": parts}


def choice(here, there, threads, once, over, back, slices):
    """What "auto" does with a call that the CPU explains as `here` and the device as `there`: a dict."""
    cpu, device = _ceilings.floor(here, threads), transfer(there, threads, once, over, back, slices)
    place = there["device"]
    why = next((side["why"] for side in (cpu, device) if side["seconds"] is None), None)
    if why is None:
        sooner = device["seconds"] < cpu["seconds"]
        why = f"{place} with its transfers is {'sooner' if sooner else 'not sooner'} than the CPU's floor"
    else:
        sooner = False
    return {"choice": place if sooner else "cpu", "why": why, "cpu": cpu["seconds"], place: device["seconds"]}
