"""Fixtures for every test: a small project, and real servers, started once per session when a test asks for one."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))

pytest_plugins = [name for name in ("projects", "servers.postgres", "servers.seaweedfs") if find_spec(name) is not None]

# a busy machine is no failure: examples may be slow to draw and to run
settings.register_profile("millpond", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("millpond")
