"""What all tests share."""

from hypothesis import settings

# A deadline asserts how long an example takes, which depends on what else the machine does.
settings.register_profile("p2psync", deadline=None)
settings.load_profile("p2psync")
