"""Settings shared by all tests."""

import os

# Two devices' programs abort on two cores by a rendezvous timeout if dispatched asynchronously.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=1")
