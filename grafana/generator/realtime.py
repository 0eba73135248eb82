"""The dashboard of WebSockets, TCP and UDP, shared tables and custom processes."""

from grafana_foundation_sdk.models import dashboard as models

from grafana.generator.board import Choice, Row, board
from grafana.generator.panels import Panel, heat, lines, quantiles

_ROUTE = 'route=~"$route"'


def realtime() -> models.Dashboard:
    """Return the dashboard."""
    return board(
        "realtime-tables",
        "Realtime",
        "WebSockets by route, TCP and UDP by listener, shared tables, custom processes.",
        [
            Row("WebSockets", _websockets()),
            Row("TCP and UDP", _sockets()),
            Row("Shared tables", _tables()),
            Row("Custom processes", _processes()),
        ],
        [Choice("route", "platform_websocket_connections")],
    )


def _websockets() -> list[Panel]:
    return [
        lines("Open", "Open WebSockets.", "short",
              (f"sum by (route) (platform_websocket_connections{{@,{_ROUTE}}})", "{{route}}"),
              width=6, stacked=True),
        lines("Opened", "WebSockets accepted in a second, and handshakes refused.", "cps",
              (f"sum by (route) (rate(platform_websocket_opens_total{{@,{_ROUTE}}}[@]))",
               "{{route}}"),
              ("sum by (reason) (rate(platform_websocket_refusals_total{@}[@]))",
               "refused: {{reason}}"), width=6),
        lines("Closed", "WebSockets closed in a second, by code.", "cps",
              (f"sum by (code) (rate(platform_websocket_closes_total{{@,{_ROUTE}}}[@]))",
               "{{code}}"), width=6),
        lines("Waiting for slow readers", "Messages in the send queues.", "short",
              (f"sum by (route) (platform_websocket_send_queue_messages{{@,{_ROUTE}}})",
               "{{route}}"), width=6),
        lines("Messages", "Messages in a second, and pushes.", "ops",
              ("sum by (direction) "
               f"(rate(platform_websocket_messages_total{{@,{_ROUTE}}}[@]))", "{{direction}}"),
              ("sum(rate(platform_websocket_pushes_total{@}[@]))", "pushed"), width=6),
        lines("Bytes of messages", "Bytes of messages in a second.", "Bps",
              ("sum by (direction) "
               f"(rate(platform_websocket_message_bytes_total{{@,{_ROUTE}}}[@]))",
               "{{direction}}"), width=6),
        lines("Duration", "How long WebSockets that were closed had been open.", "s",
              *quantiles("platform_websocket_connection_duration_seconds", of=(0.5, 0.95)),
              width=6),
        heat("Where durations lie", "WebSockets closed in a second, by how long they were open.",
             "s", "platform_websocket_connection_duration_seconds", width=6),
    ]  # fmt: skip


def _sockets() -> list[Panel]:
    return [
        lines("Open connections", "Open TCP connections.", "short",
              ("sum by (listener) (platform_socket_connections{@})", "{{listener}}"), width=6),
        lines("Opened and ended", "TCP connections in a second.", "cps",
              ("sum by (listener) (rate(platform_socket_opens_total{@}[@]))",
               "{{listener}} opened"),
              ("sum by (listener, reason) (rate(platform_socket_closes_total{@}[@]))",
               "{{listener}} {{reason}}"), width=6),
        lines("Frames and packets", "Received in a second.", "ops",
              ("sum by (listener) (rate(platform_socket_frames_total{@}[@]))", "{{listener}}"),
              width=6),
        lines("Bytes of sockets", "Bytes in a second.", "Bps",
              ("sum by (listener, direction) (rate(platform_socket_bytes_total{@}[@]))",
               "{{listener}} {{direction}}"), width=6),
    ]  # fmt: skip


def _processes() -> list[Panel]:
    return [
        lines("Processes by state", "Slots of each custom process; done and failed have ended.",
              "short", ("sum by (process, state) (platform_process_state{@}) > 0 "
                        "or sum by (process) (0 * platform_process_state{@})",
                        "{{process}} {{state}}"), width=6),
        lines("Restarts and ends of processes", "Starts after an end, and ends by reason.", "ops",
              ("sum by (process) (rate(platform_process_restarts_total{@}[@]))",
               "{{process}} restarts"),
              ("sum by (process, reason) (rate(platform_process_exits_total{@}[@])) > 0",
               "{{process}} {{reason}}"), width=6),
        lines("Messages to processes", "Sent and taken in a second, and those that failed.", "ops",
              ("sum by (process) (rate(platform_process_messages_sent_total{@}[@]))",
               "{{process}} sent"),
              ("sum by (process) (rate(platform_process_messages_received_total{@}[@]))",
               "{{process}} taken"),
              ("sum by (process, reason) (rate(platform_process_messages_refused_total{@}[@])) > 0",
               "{{process}} {{reason}}"), width=6),
        lines("Requests to processes", "Time from a request to its reply.", "s",
              *quantiles("platform_process_request_duration_seconds", "process", of=(0.5, 0.99)),
              width=6),
    ]  # fmt: skip


def _tables() -> list[Panel]:
    return [
        lines("Rows", "Rows of each table.", "short",
              ("max by (instance, table) (platform_table_rows{@})", "{{table}}"), width=6),
        lines("Full", "Rows, as a share of the most that there may be.", "percentunit",
              ("max by (instance, table) (platform_table_rows{@}) "
               "/ max by (instance, table) (platform_table_capacity_rows{@})", "{{table}}"),
              width=6),
        lines("Calls", "Calls in a second; those that failed by outcome.", "ops",
              ('sum by (table, op) (rate(platform_table_operations_total{@,outcome="success"}[@]))',
               "{{table}} {{op}}"),
              ("sum by (table, outcome) "
               '(rate(platform_table_operations_total{@,outcome!="success"}[@])) > 0',
               "{{table}} {{outcome}}"), width=6),
        lines("Memory of tables", "What all tables of an instance take in their file.", "bytes",
              ("max by (instance) (platform_table_memory_bytes{@})", "{{instance}}"), width=6),
    ]  # fmt: skip
