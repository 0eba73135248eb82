"""Every row of the list of features of HTTP, sockets, tables and timers has a test of its own.

The tests named here ask a whole platform through its command line and real sockets, or a web worker
on real sockets where nothing but that worker has a part in it. A row is named as in the list.
"""

import re
from pathlib import Path

import pytest

ROWS = {
    "listen_ip and port, unix socket, IPv6": "a_unix_socket_and_ipv6_beside_each_other",
    "TLS": "a_new_certificate_takes_a_reload_and_one_that_is_none_is_refused",
    "TLS on other ports": "an_http_listener_with_the_certificate_of_the_platform",
    "TLS, a certificate that is renewed": (
        "a_certificate_that_is_renewed_is_shown_without_anybody_having_to_say_so"
    ),
    "server header": "server_header_is_what_is_set",
    "handle_static": "handle_static_serves_ranges_and_nothing_outside",
    "dispatch modes": "dispatch_modes_nobody_waits_for_a_worker_that_is_blocked",
    "worker_num": "worker_num_a_hundred_wait_at_once_on_two_workers",
    "package_max_length": "package_max_length_one_byte_more_is_413_and_no_dropped_connection",
    "uploads": "uploads_spill_to_disk",
    "buffers, backlog": "buffers_and_backlog_are_those_of_the_settings",
    "heartbeat of WebSockets": (
        "who_does_not_answer_pings_is_cut_off_and_who_is_silent_too_long_is_closed"
    ),
    "heartbeat of TCP": "each_end_has_its_reason",
    "http_compression": "http_compression_where_the_client_takes_it",
    "max_connection": "max_connection_beyond_it_is_503_with_retry_after_and_below_it_200",
    "WebSocket handler": "the_page_of_the_sample_chats_in_a_browser_over_a_rollout",
    "WS auth at handshake": (
        "ws_auth_at_handshake_is_what_the_middleware_decides_wherever_the_websocket_is"
    ),
    "push from anywhere, from CLI, cron and task; rooms and broadcast": (
        "a_push_reaches_every_worker_from_a_request_a_task_a_cron_and_the_cli"
    ),
    "dead connections pruned": "what_a_killed_worker_has_left_is_swept_and_its_own_taken_away",
    "push from a thread": "push_from_anywhere_a_thread_too",
    "TCP socket": "tcp_socket_two_messages_in_one_segment_are_two_and_conns_shows_it",
    "extra HTTP port, port object and connections": (
        "every_listener_is_served_listed_and_stays_the_same_over_a_rollout"
    ),
    "UDP socket": "udp_socket_a_packet_is_logged_once_and_answered",
    "UDP socket, over rollouts": "no_packet_is_lost_over_rollouts",
    "TLS, a drain during the handshake": (
        "who_had_connected_before_the_drain_may_end_its_handshake_and_is_answered"
    ),
    "extra HTTP port, as the main one": "hooks_and_cleaners_are_around_its_requests_too",
    "extra WS port": "a_port_of_its_own_has_its_own_routes_and_websockets",
    "port bind failure": "a_port_in_use_at_the_start_is_exit_code_5_with_its_owner",
    "list-properties": "the_verb_says_file_and_line",
    "memory-leak route, leak detector": "memory_leak_route_is_named_by_the_watch_and_by_mem",
    "cleaners": "cleaners_a_request_finds_the_default_also_after_an_exception",
    "register_providers": "destroy_controllers_and_register_providers_of_each_request",
    "destroy_controllers": "destroy_controllers_and_register_providers_of_each_request",
    "DB reset": "db_reset_an_open_transaction_is_rolled_back_before_the_next_request",
    "received_request, generated_response": (
        "received_request_and_generated_response_for_every_answer"
    ),
    "trusted proxies": "trusted_proxies_a_spoofed_address_is_ignored",
    "streaming, SSE": "streaming_sse_events_come_as_they_occur",
    "shared table, from everywhere": "every_kind_of_process_shares_a_table",
    "shared table, increments": "eight_processes_lose_no_increment",
    "table full": "a_full_table_takes_no_further_row_and_the_others_can_be_changed",
    "cron job (ms)": "kills_around_due_moments_lose_and_repeat_none",
    "cron expression, tz": "a_cron_string_means_what_debian_s_cron_means",
    "job.stop": "a_cron_is_listed_run_stopped_and_started_by_hand",
    "timer max_wait_time": "what_runs_long_ends_where_it_began_and_no_second_copy_begins",
    "terminate after response": "terminate_after_response_the_client_does_not_wait_for_the_work",
}
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def tests() -> set[str]:
    texts = [path.read_text() for path in HERE.glob("*/**/test_*.py")]
    names = {name for text in texts for name in re.findall(r"^def test_(\w+)\(", text, re.M)}
    return names


@pytest.mark.parametrize("row", ROWS)
def test_every_row_has_a_test(row: str, tests: set[str]) -> None:
    assert ROWS[row] in tests
