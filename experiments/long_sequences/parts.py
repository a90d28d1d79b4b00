"""All parts of the study, in the order of the page."""

from experiments.long_sequences import corrupted, gates, memory, order, quality, repeated

PARTS = {
    "quality": quality.PART,
    "order": order.PART,
    "repeated": repeated.PART,
    "corrupted": corrupted.PART,
    "memory": memory.PART,
    "gates": gates.PART,
}
