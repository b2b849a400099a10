"""Which tests run, and Hypothesis profiles.

CMPI_HYPOTHESIS chooses one: default, or thorough (more examples, from a fresh seed, which is printed).
"""

import os
import pathlib
import random
import signal

import pytest
from hypothesis import HealthCheck, settings

# Background jobs of a shell, and processes under nohup, ignore these signals, and every job tested here
# would inherit that.
for _number in (signal.SIGHUP, signal.SIGQUIT):
    signal.signal(_number, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)

PROFILE = os.environ.get("CMPI_HYPOTHESIS", "default")
TOO_SLOW = [HealthCheck.too_slow]

settings.register_profile("default", max_examples=50, deadline=None, derandomize=True)
settings.register_profile(
    "thorough", max_examples=500, deadline=None, print_blob=True, suppress_health_check=TOO_SLOW
)
settings.load_profile(PROFILE)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    """Choose the seed of a thorough run; pytest-xdist workers inherit it through the environment."""
    if PROFILE != "default":
        seed = os.environ.setdefault("CMPI_HYPOTHESIS_SEED", str(random.SystemRandom().randrange(2**32)))
        config.option.hypothesis_seed = seed


def pytest_report_header():
    if PROFILE != "default":
        seed = os.environ["CMPI_HYPOTHESIS_SEED"]
        return f"repeat this run with: CMPI_HYPOTHESIS={PROFILE} CMPI_HYPOTHESIS_SEED={seed}"
    return None


def pytest_ignore_collect(collection_path, config):
    """Skip tests/cluster unless its path is given, because it takes minutes and the whole machine."""
    if collection_path == pathlib.Path(__file__).parent / "cluster":
        return not any("cluster" in argument for argument in config.invocation_params.args) or None
    return None
