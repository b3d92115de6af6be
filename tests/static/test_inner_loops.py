"""The ratchet of inner_loops.py: what it lets pass, and what not."""

import pytest
from inner_loops import check_ratchet

ENTRY = {"cycles": [1.0], "stack": 0, "moves_above_loads": 0}
EXCUSED = {"cycles": [1.0], "stack": 3, "moves_above_loads": 2, "reason": "its loop includes the ends of rows"}


@pytest.mark.parametrize(
    ("recorded", "change", "said"),
    [
        (ENTRY, {"cycles": [1.02]}, ""),
        (ENTRY, {"cycles": [1.04]}, "one: 1.040 cycles per multiply-add, 1.000 recorded (+4.0%)"),
        (ENTRY, {"cycles": [1.0, 1.0]}, "one has 2 such loops, 1 are recorded"),
        (EXCUSED, {}, ""),
        (EXCUSED, {"stack": 1, "moves_above_loads": 0}, ""),
        (EXCUSED, {"stack": 4}, "one: 4 accesses to the stack, 3 recorded"),
        (EXCUSED, {"moves_above_loads": 3}, "one: 3 moves more than loads, 2 recorded"),
        (EXCUSED, {"stack": 0, "moves_above_loads": 0}, "one meets the bars: take its reason out of the record"),
    ],
)
def test_the_ratchet(recorded, change, said, capsys):
    status = check_ratchet({"one": {**recorded, **change}}, {"one": recorded}, 0.03)
    lines = capsys.readouterr().out.splitlines()
    assert (status, lines[:-1]) == ((1, [said]) if said else (0, []))
