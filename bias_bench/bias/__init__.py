"""Language-bias metrics, one file each."""
