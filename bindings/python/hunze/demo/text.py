"""Texts compared: edit distance, marked differences, and which line belongs to which."""

from __future__ import annotations


def distances(a, b):
    """The table of edit distances of all beginnings of a and b."""
    table = [list(range(len(b) + 1))]
    for i, left in enumerate(a, 1):
        row = [i]
        for j, right in enumerate(b, 1):
            row.append(min(table[-1][j] + 1, row[-1] + 1, table[-1][j - 1] + (left != right)))
        table.append(row)
    return table


def distance(a: str, b: str) -> int:
    return distances(a, b)[-1][-1]


def marks(truth: str, read: str) -> list[tuple[str, str, str]]:
    """(kind, true, read) pieces: kind is "same", "changed", "missing" (in the truth only) or "extra"."""
    table = distances(truth, read)
    i, j, pieces = len(truth), len(read), []
    while i or j:
        if i and j and table[i][j] == table[i - 1][j - 1] + (truth[i - 1] != read[j - 1]):
            i, j = i - 1, j - 1
            pieces.append(("same" if truth[i] == read[j] else "changed", truth[i], read[j]))
        elif i and table[i][j] == table[i - 1][j] + 1:
            i -= 1
            pieces.append(("missing", truth[i], ""))
        else:
            j -= 1
            pieces.append(("extra", "", read[j]))
    joined: list[tuple[str, str, str]] = []
    for kind, true, got in reversed(pieces):
        if joined and joined[-1][0] == kind:
            joined[-1] = kind, joined[-1][1] + true, joined[-1][2] + got
        else:
            joined.append((kind, true, got))
    return joined


def pair_lines(truth: list[str], read: list[str]) -> list[tuple[int | None, int | None]]:
    """Indices of lines that belong together, in order: the pairing with the fewest edits in all."""
    cost = [[0] * (len(read) + 1) for _ in range(len(truth) + 1)]
    for i in range(len(truth) + 1):
        for j in range(len(read) + 1):
            ways = []
            if i:
                ways.append(cost[i - 1][j] + len(truth[i - 1]))
            if j:
                ways.append(cost[i][j - 1] + len(read[j - 1]))
            if i and j:
                ways.append(cost[i - 1][j - 1] + distance(truth[i - 1], read[j - 1]))
            cost[i][j] = min(ways, default=0)
    i, j, pairs = len(truth), len(read), []
    while i or j:
        if i and j and cost[i][j] == cost[i - 1][j - 1] + distance(truth[i - 1], read[j - 1]):
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif i and cost[i][j] == cost[i - 1][j] + len(truth[i - 1]):
            i -= 1
            pairs.append((i, None))
        else:
            j -= 1
            pairs.append((None, j))
    return pairs[::-1]


def error_rate(truth: list[str], read: list[str]) -> tuple[int, int]:
    """(edits, letters of the truth) over paired lines; lines without a partner count whole."""
    edits = sum(
        distance(truth[i] if i is not None else "", read[j] if j is not None else "")
        for i, j in pair_lines(truth, read)
    )
    return edits, sum(map(len, truth))
