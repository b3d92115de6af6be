"""The main job: reads a photographed page with two small neural networks that run on Hunze, and writes a report.

python -m hunze demo                     the page of scikit-image, with checks and timings against ONNX Runtime
python -m hunze demo FILE -o REPORT      a page of your own (PNG, JPEG, TIFF); nothing leaves the machine
"""


def main(argv=None) -> int:
    from .command import main as command  # Pillow and onnx are imported only when the job runs

    return command(argv)
