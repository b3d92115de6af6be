"""Pictures: read a page, scale it for the detector, cut lines out for the recogniser."""

from __future__ import annotations

import math
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

LINE_HEIGHT = 48  # of the recogniser's input
LINE_WIDTH = 320  # least width of it
DETECTOR_SIDES = 736, 1600  # the longer side is brought into this range
MEAN, DEVIATION = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])


class ImageError(ValueError):
    """The file is no picture that can be read; the message says why in one line."""


def read_page(source, name: str) -> Image.Image:
    """An upright RGB picture from a path or a binary file object."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(source) as picture:
                return upright(picture)
    except UnidentifiedImageError:
        raise ImageError(f"{name} is no picture: PNG, JPEG and TIFF are read") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(f"{name} has more than {Image.MAX_IMAGE_PIXELS} pixels: scale it down first") from None
    except FileNotFoundError:
        raise ImageError(f"{name} is not there") from None
    except IsADirectoryError:
        raise ImageError(f"{name} is a folder; give the file of one page") from None
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from None
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for damaged files
        raise ImageError(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def upright(picture: Image.Image) -> Image.Image:
    picture.load()
    pages = getattr(picture, "n_frames", 1)
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith(("I", "F")):  # 16 and 32 bits: bring the range that is there to 8
        values = np.asarray(picture, np.float64)
        known = np.isfinite(values)
        if not known.any():
            raise ImageError("it has no pixel with a value")
        low, high = values[known].min(), values[known].max()
        values = np.nan_to_num(values, nan=high, posinf=high, neginf=low)
        picture = Image.fromarray(np.uint8(np.rint((values - low) * (255 / (high - low or 1)))))
    if "A" in picture.getbands() or "transparency" in picture.info:
        paper = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(paper, picture.convert("RGBA"))
    picture = picture.convert("RGB")
    if min(picture.size) < 8:
        raise ImageError(f"{picture.width} x {picture.height} pixels hold no text")
    picture.info["pages"] = pages
    return picture


def channels_first(pixels: np.ndarray) -> np.ndarray:
    """(h, w, 3) as a (1, 3, h, w) view: the memory stays channels-last, as the kernels like it."""
    return np.ascontiguousarray(pixels, np.float32)[None].transpose(0, 3, 1, 2)


def detector_input(picture: Image.Image) -> np.ndarray:
    longest = max(picture.size)
    factor = min(max(longest, DETECTOR_SIDES[0]), DETECTOR_SIDES[1]) / longest
    size = [max(32, 32 * round(side * factor / 32)) for side in picture.size]
    pixels = np.asarray(picture.resize(size, Image.Resampling.BILINEAR), np.float32)
    return channels_first((pixels / 255 - MEAN) / DEVIATION)


def cut_line(picture: Image.Image, corners: np.ndarray) -> np.ndarray:
    """The rotated rectangle with these corners (from the top left, clockwise), upright, as (1, 3, 48, w).

    The width is a multiple of 8: the recogniser gives one column of letters per 8 pixels."""
    top, side = corners[1] - corners[0], corners[3] - corners[0]
    width, height = max(1, round(math.hypot(*top))), max(1, round(math.hypot(*side)))
    across, down = top / width, side / height
    matrix = (across[0], down[0], corners[0][0], across[1], down[1], corners[0][1])
    paper = picture.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))  # stands for what lies beyond the edge
    line = picture.transform((width, height), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC, fillcolor=paper)
    wide = max(1, round(width * LINE_HEIGHT / height))
    line = line.resize((wide, LINE_HEIGHT), Image.Resampling.BILINEAR)
    pixels = np.zeros((LINE_HEIGHT, max(LINE_WIDTH, -(-wide // 8) * 8), 3), np.float32)
    pixels[:, :wide] = np.asarray(line, np.float32) / 127.5 - 1
    return channels_first(pixels)


def widen(lines: list[np.ndarray]) -> np.ndarray:
    """Lines as one batch, padded with zeros to the widest."""
    batch = np.zeros((len(lines), LINE_HEIGHT, max(line.shape[3] for line in lines), 3), np.float32)
    for place, line in zip(batch, lines):
        place[:, : line.shape[3]] = line[0].transpose(1, 2, 0)
    return batch.transpose(0, 3, 1, 2)
