"""The two layers of the cache, L1 in the isolate and L2 in KV, and the manager before both."""
