"""Facts about listening sockets that both sides of a process border have to agree on."""

# Every `listen` on a shared socket sets its queue anew, so all who share it pass the same length.
BACKLOG = 2048
