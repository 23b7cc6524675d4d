"""The local steps of the workers that a process hosts: on its CPU core, or on a device."""
