"""All parts of the study, in the order of the page."""

from experiments.long_sequences import (
    corrupted,
    devices,
    drift,
    gates,
    memory,
    order,
    quality,
    repeated,
    scans,
    streaming,
)

PARTS = {
    "quality": quality.PART,
    "order": order.PART,
    "repeated": repeated.PART,
    "corrupted": corrupted.PART,
    "memory": memory.PART,
    "gates": gates.PART,
    "drift": drift.PART,
    "stream": streaming.PART,
    "scans": scans.PART,
    "devices": devices.PART,
}
