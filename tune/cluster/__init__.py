"""Ray clusters: joining one, what its nodes must be, what they are sent, and templates that start one."""
