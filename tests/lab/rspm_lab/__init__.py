"""A lab of User-mode Linux machines: real kernels, disks, clocks and mounts as ordinary processes."""
