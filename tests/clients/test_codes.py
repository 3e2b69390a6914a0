"""Every code of `docs/protocol.md` is provoked by a test."""

import re

import pytest

from conftest import ROOT

SESSION = "crates/arqon-proto/tests/session"
SHIELD = "crates/arqon-shield/tests"
CLIENTS = "tests/clients"

# Number and name of a code -> file and name of the test in which somebody meets it. What a test asserts is the code, by its name or number.
MET_BY: dict[tuple[int, str], tuple[str, str]] = {
    (100, "internal"): (
        "crates/arqon-presence/tests/operators.rs",
        "an_answer_that_a_newer_brain_gives_is_internal",
    ),
    (101, "unauthorized"): (f"{CLIENTS}/test_floods.py", "test_tokens_that_are_worth_nothing"),
    (102, "bad_request"): (f"{CLIENTS}/test_hostile.py", "test_what_is_refused"),
    (103, "permission_denied"): (f"{CLIENTS}/test_audit.py", "test_denials_are_written_down_and_secrets_are_not"),
    (104, "unknown_command"): (f"{CLIENTS}/test_hostile.py", "test_what_is_refused"),
    (105, "already_subscribed"): (f"{SESSION}/rooms.rs", "a_second_subscribe_is_refused_pending_or_live"),
    (106, "not_subscribed"): (f"{CLIENTS}/test_hostile.py", "test_what_is_refused"),
    (107, "invalid_room"): (f"{CLIENTS}/test_hostile.py", "test_rooms_that_cannot_be"),
    (108, "limit_exceeded"): (f"{CLIENTS}/test_floods.py", "subscriptions"),
    (109, "rate_limited"): (f"{CLIENTS}/test_floods.py", "publications"),
    (110, "token_expired"): (
        f"{SESSION}/token.rs",
        "within_the_grace_a_token_can_be_replaced_and_nothing_else_be_done",
    ),
    (111, "outcome_unknown"): (
        f"{SHIELD}/bus/main.rs",
        "without_the_spine_nothing_is_acked_and_afterwards_all_is_live_again",
    ),
    (112, "unavailable"): (f"{SESSION}/rooms.rs", "a_join_that_fails_is_the_answer_and_may_be_tried_again"),
    (113, "overloaded"): (f"{SHIELD}/api/strict.rs", "only_so_many_requests_are_under_way"),
    (114, "not_connected"): (f"{CLIENTS}/test_hostile.py", "test_nothing_goes_before_connect"),
    (115, "already_connected"): (f"{CLIENTS}/test_hostile.py", "test_what_is_refused"),
    (116, "policy_denied"): (f"{SHIELD}/deploy.rs", "a_module_that_is_handed_out_judges_until_it_is_taken_back"),
    (117, "identity_changed"): (f"{CLIENTS}/test_audit.py", "test_denials_are_written_down_and_secrets_are_not"),
    (118, "draining"): (
        "crates/arqon-shield/src/operator.rs",
        "what_may_have_been_done_when_the_shield_ends_is_unknown",
    ),
    (119, "room_closed"): (f"{SHIELD}/api/operate.rs", "a_room_is_closed_and_its_members_are_told"),
    (120, "not_found"): (f"{SHIELD}/deploy.rs", "a_module_that_is_handed_out_judges_until_it_is_taken_back"),
    (121, "conflict"): (
        f"{SHIELD}/api/operate.rs",
        "settings_are_replaced_by_who_has_read_them_and_shields_tell_what_they_run",
    ),
    (122, "revoked"): (f"{SHIELD}/api/operate.rs", "a_revoked_user_is_out_and_so_is_its_admin_token"),
    (123, "policy_unavailable"): (f"{SESSION}/life.rs", "a_policy_may_refuse_the_connect"),
    (1002, "protocol_error"): (f"{CLIENTS}/test_hostile.py", "test_what_closes_the_connection"),
    (1003, "wrong_message_type"): (f"{CLIENTS}/test_hostile.py", "test_what_closes_the_connection"),
    (1007, "invalid_utf8"): (f"{CLIENTS}/test_hostile.py", "test_what_closes_the_connection"),
    (1009, "too_big"): (f"{CLIENTS}/test_hostile.py", "test_what_closes_the_connection"),
    (4000, "draining"): (f"{CLIENTS}/test_drain.py", "test_clients_are_told_and_closed_with_4000"),
    (4001, "slow_consumer"): (
        f"{CLIENTS}/test_slow.py",
        "test_who_stops_reading_is_told_and_closed_and_nobody_else_notices",
    ),
    (4002, "token_expired"): (f"{SESSION}/token.rs", "a_token_that_runs_out_is_announced_once_and_then_closes"),
    (4003, "no_pong"): (f"{SESSION}/life.rs", "silence_is_pinged_and_then_closed"),
    (4004, "connection_limit"): (f"{SHIELD}/bus/main.rs", "a_tenant_has_its_own_limit_and_hears_its_name"),
    (4005, "internal"): (f"{SESSION}/life.rs", "a_policy_may_refuse_the_connect"),
    (4006, "rate_limited"): (f"{CLIENTS}/test_floods.py", "pings"),
    (4500, "connect_timeout"): (
        f"{CLIENTS}/test_hostile.py",
        "test_who_does_not_authenticate_in_time_is_closed_with_4500",
    ),
    (4501, "unauthorized"): (f"{CLIENTS}/test_floods.py", "test_tokens_that_are_worth_nothing"),
    (4502, "bad_request"): (f"{CLIENTS}/test_hostile.py", "test_what_closes_the_connection"),
    (4503, "kicked"): (f"{CLIENTS}/test_audit.py", "test_denials_are_written_down_and_secrets_are_not"),
    (4504, "revoked"): (f"{SHIELD}/bus/operators.rs", "who_is_revoked_goes_and_does_not_come_back"),
}


def test_every_documented_code_has_its_test() -> None:
    text = (ROOT / "docs" / "protocol.md").read_text()
    documented = {(int(number), name) for number, name in re.findall(r"^\| (\d+) \| `(\w+)` \|", text, re.M)}
    assert len(documented) >= 39
    assert documented == MET_BY.keys()


@pytest.mark.parametrize(("code", "place"), MET_BY.items(), ids=lambda item: "-".join(map(str, item)))
def test_the_test_is_there_and_asserts_the_code(code: tuple[int, str], place: tuple[str, str]) -> None:
    (number, name), (file, test) = code, place
    text = (ROOT / file).read_text()
    assert re.search(rf"(fn|def) {test}\b", text), f"{file} has no test {test}"
    kind = "ErrorCode" if number < 1000 else "CloseCode"
    camel = f"{kind}::{''.join(map(str.capitalize, name.split('_')))}"
    assert any(word in text for word in (camel, f'"{name}"', str(number))), f"{file} does not know {number}"
