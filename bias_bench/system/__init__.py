"""The console, files, processes and the machine."""
