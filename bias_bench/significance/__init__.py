"""Is system B better than A: resampling of whole topics, corrections, intervals, effect sizes.

The order of use: `differences.align` puts runs on one grid, `differences.difference` subtracts two
systems, `differences.macro_values` adds the pooled groups; every test then takes values
[topics, columns], NaN where a cell is missing, and the topics' cluster codes.
"""
