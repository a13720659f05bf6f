"""Ways to feed the monitor from other libraries; each file needs the library it is named after."""
