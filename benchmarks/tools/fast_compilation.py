"""XLA's flags for programs that run once: tests, and the smallest cases of benchmarks."""

import importlib.metadata

# Compilation is two thirds of the suite; without LLVM's optimisation it takes a third less, without XLA's newer emitters of
# fused loops (an option of jaxlib 0.10 alone; XLA aborts on flags it does not know) half of that.
FAST_COMPILATION = "--xla_backend_optimization_level=0" + " --xla_cpu_use_fusion_emitters=false" * (
    importlib.metadata.version("jaxlib").startswith("0.10.")
)
