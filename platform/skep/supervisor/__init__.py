"""The one parent process: sockets, slots, rollouts, the metric ledger, the control socket."""
