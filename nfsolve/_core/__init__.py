"""Error wording, seeds, devices and the description of objects in plain data. Imports nothing of nfsolve."""
