"""What several benchmarks need: command line, peers, timing, records, systems and data."""
