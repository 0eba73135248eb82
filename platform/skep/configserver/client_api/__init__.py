"""The API of clients: configs, files, notifications, discovery."""
