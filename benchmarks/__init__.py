"""Speed of biasbench against peers, as ratios measured in interleaved pairs; see README.md."""
