"""What a deployment knows of its own latency: histograms, and the profiler that fills them."""
