"""All fuzz targets, by name. Each module is imported when one of its targets is asked for: a run
of one starts in a fraction of the time that all of the product takes."""

import importlib

from tests.fuzz.target import Target

MODULES = {
    "wire_targets": ("codec", "frame", "payload", "entry"),
    "ticket_targets": ("ticket", "sealed"),
    "name_targets": ("names", "folder"),
    "format_targets": ("reader", "line", "definition", "merge"),
    "inspection_targets": ("inspect",),
    "network_targets": (
        "announcement",
        "packet",
        "address",
        "negotiation",
        "handshake",
        "muxer",
    ),
    "engine_targets": ("engine",),
    "audit_targets": ("audit",),
    "api_targets": ("api", "node"),
}
NAMES = tuple(name for names in MODULES.values() for name in names)


def find(name: str) -> Target:
    """The target of that name."""
    [module] = [module for module, names in MODULES.items() if name in names]
    targets: tuple[Target, ...] = importlib.import_module(f"tests.fuzz.{module}").TARGETS
    return next(target for target in targets if target.name == name)
