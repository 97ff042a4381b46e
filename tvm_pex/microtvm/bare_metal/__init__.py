"""Firmware without an operating system: C skeletons, and their build with Debian's compiler for Arm."""
