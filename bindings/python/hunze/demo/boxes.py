"""Text lines in the detector's map: connected components, and a rotated rectangle around each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

THRESHOLD = 0.3  # a pixel of the map counts as text above it
LEAST_SCORE = 0.5  # mean of a component
LEAST_PIXELS = 12
GROWTH = 1.4  # the map shows the middle of a line: area * GROWTH / perimeter is added on each side


@dataclass(frozen=True)
class Box:
    corners: np.ndarray  # (4, 2): x, y in pixels of the page, from the top left, clockwise
    score: float


def components(mask: np.ndarray) -> np.ndarray:
    """Labels 1, 2, … of the 8-connected regions of a boolean map; 0 elsewhere.

    Rows are cut into runs; runs that touch in neighbouring rows are joined by taking the least label until nothing
    changes."""
    padded = np.zeros((mask.shape[0], mask.shape[1] + 2), np.int8)
    padded[:, 1:-1] = mask
    step = np.diff(padded, axis=1)
    row, first = np.nonzero(step == 1)
    last = np.nonzero(step == -1)[1]  # one past the end
    width = mask.shape[1] + 2
    # Runs of the row above that touch [first, last): they end at or after first, and begin at or before last.
    low = np.searchsorted(row * width + last, (row - 1) * width + first, "left")
    high = np.searchsorted(row * width + first, (row - 1) * width + last, "right")
    count = np.maximum(high - low, 0)
    below = np.repeat(np.arange(row.size), count)
    above = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + np.repeat(low, count)
    label = np.arange(row.size)
    while True:
        least = np.minimum(label[below], label[above])
        joined = label.copy()
        np.minimum.at(joined, label[below], least)
        np.minimum.at(joined, label[above], least)
        joined = joined[joined]
        if np.array_equal(joined, label):
            break
        label = joined
    label = np.unique(label, return_inverse=True)[1] + 1
    labels = np.zeros(mask.shape, np.intp)
    lengths = last - first
    columns = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths) + np.repeat(first, lengths)
    labels[np.repeat(row, lengths), columns] = np.repeat(label, lengths)
    return labels


def rectangle(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Corners of the rectangle along the main axis of these pixels; upright where they are hardly longer than high,
    or steep."""
    points = np.stack([x, y], axis=1).astype(np.float64)
    centre = points.mean(axis=0)
    spread, axes = np.linalg.eigh(np.cov((points - centre).T))
    along = axes[:, 1] * (np.sign(axes[0, 1]) or 1)
    if spread[1] < 4 * spread[0] or abs(along[0]) < 0.7:
        along = np.array([1.0, 0.0])
    across = np.array([-along[1], along[0]])
    u, v = (points - centre) @ along, (points - centre) @ across
    wide, high = np.ptp(u) + 1, np.ptp(v) + 1
    grow = wide * high * GROWTH / (2 * (wide + high))
    left, right, top, bottom = u.min() - 0.5 - grow, u.max() + 0.5 + grow, v.min() - 0.5 - grow, v.max() + 0.5 + grow
    return np.array(
        [centre + a * along + b * across for a, b in ((left, top), (right, top), (right, bottom), (left, bottom))]
    )


def find(probability: np.ndarray, page_size: tuple[int, int]) -> list[Box]:
    """Boxes in reading order from the detector's (h, w) map, in pixels of the page (width, height)."""
    labels = components(probability > THRESHOLD)
    order = np.argsort(labels, axis=None, kind="stable")
    edges = np.searchsorted(labels.reshape(-1)[order], np.arange(1, labels.max(initial=0) + 2))
    scale = np.array(page_size) / probability.shape[::-1]
    boxes = []
    for begin, end in zip(edges, edges[1:]):
        inside = order[begin:end]
        score = float(probability.reshape(-1)[inside].mean())
        if inside.size >= LEAST_PIXELS and score >= LEAST_SCORE:
            y, x = np.divmod(inside, probability.shape[1])
            boxes.append(Box((rectangle(y, x) + 0.5) * scale, score))
    return reading_order(boxes)


def reading_order(boxes: list[Box]) -> list[Box]:
    """Top to bottom; boxes whose middles differ by less than half their height are one row, left to right."""
    rows: list[list[Box]] = []
    for box in sorted(boxes, key=lambda box: box.corners[:, 1].mean()):
        height = np.linalg.norm(box.corners[3] - box.corners[0])
        if rows and abs(box.corners[:, 1].mean() - rows[-1][-1].corners[:, 1].mean()) < height / 2:
            rows[-1].append(box)
        else:
            rows.append([box])
    return [box for row in rows for box in sorted(row, key=lambda box: box.corners[0][0])]
