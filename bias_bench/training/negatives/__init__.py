"""Hard negatives: which wrong candidates a query's positives are trained against."""
