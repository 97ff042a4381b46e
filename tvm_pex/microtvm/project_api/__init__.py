"""microTVM's Project API: how a client generates, builds and flashes a firmware project and talks to it.

All but ``client`` is copied into generated projects, whose server then needs nothing but Python 3.8 or later (and
pyserial, for boards on a serial port).
"""
