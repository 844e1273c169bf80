"""Programs that measure nothing: cases for the export test, the training of the shipped weights, the run of all scripts."""
