"""The fault harness of the recording: real processes, faults, and books in which every sample is accounted for."""
