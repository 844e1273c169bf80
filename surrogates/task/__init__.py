"""The learning problem: `Task`, modes of time, `Signature`, normalisation."""
