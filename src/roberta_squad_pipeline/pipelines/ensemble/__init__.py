"""Several trained readers to one."""
