"""Reads a page: the detector finds lines, the recogniser reads them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

import hunze.onnx

from . import boxes, image

BLANK = 0


def without_softmax(model: bytes) -> tuple[bytes, list[str]]:
    """The recogniser up to its logits, and its letters.  Reading needs only the largest, which Softmax does not
    change."""
    proto = onnx.load_from_string(model)
    letters = next((p.value for p in proto.metadata_props if p.key == "character"), "")
    if not letters:
        raise hunze.onnx.ModelError("the recogniser has no list of letters in its metadata")
    last = proto.graph.node[-1]
    if last.op_type == "Softmax" and last.output[0] == proto.graph.output[0].name:
        logits = proto.graph.output[0].name = last.input[0]
        proto.graph.node.pop()
        del proto.graph.value_info[:]
        assert any(logits in node.output for node in proto.graph.node)
    return proto.SerializeToString(), ["", *letters.split("\n"), " "]


def decode(logits: np.ndarray, letters: list[str]) -> str:
    """CTC, greedy: the best letter per column, repetitions taken once, blanks left out."""
    best = logits.argmax(axis=-1)
    fresh = np.concatenate([[True], best[1:] != best[:-1]]) & (best != BLANK)
    return "".join(letters[index] for index in best[fresh])


@dataclass
class Line:
    box: boxes.Box
    pixels: np.ndarray  # (1, 3, 48, w)


class Reader:
    """The models as bytes, ready to be loaded in any context."""

    def __init__(self, detector: bytes, recogniser: bytes):
        self.detector = detector
        self.recogniser, self.letters = without_softmax(recogniser)

    def find_lines(self, picture, model=None) -> tuple[list[Line], np.ndarray]:
        """The lines of a page in reading order, and the detector's input."""
        x = image.detector_input(picture)
        model = model or hunze.onnx.load(self.detector)
        probability = model(x)[0][0, 0]
        found = boxes.find(probability, picture.size)
        return [Line(box, image.cut_line(picture, box.corners)) for box in found], x

    def read(self, model, line: Line) -> str:
        return decode(model(line.pixels)[0][0], self.letters)
