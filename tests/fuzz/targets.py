"""All fuzz targets, by name."""

from tests.fuzz import (
    api_targets,
    engine_targets,
    format_targets,
    name_targets,
    network_targets,
    ticket_targets,
    wire_targets,
)
from tests.fuzz.target import Target

TARGETS: dict[str, Target] = {
    target.name: target
    for module in (
        wire_targets,
        ticket_targets,
        name_targets,
        format_targets,
        network_targets,
        engine_targets,
        api_targets,
    )
    for target in module.TARGETS
}
