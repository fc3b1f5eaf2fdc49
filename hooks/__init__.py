"""Floor 1: models, sites, capture, interventions and sweeps; the only floor that speaks transformers."""
