"""What a bench has found: distributions, results as JSON (schema.json), plots, and one page of them all."""
