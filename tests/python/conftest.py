"""What the Python tests share: the same examples in every run, and a reason in print for every test that this
machine skips."""

import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("hunze", derandomize=True, deadline=None)
settings.load_profile("hunze")


def pytest_configure(config):
    if "s" not in config.option.reportchars:
        config.option.reportchars += "s"


@pytest.fixture(autouse=True)
def _seeded():
    np.random.seed(0)
