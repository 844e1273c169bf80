"""Training: `fit`, objectives, losses, batches, optimiser steps, checkpoints, devices."""
