import re
from itertools import pairwise
from uuid import RFC_4122, UUID, uuid4

import pytest

from svckit.errors import InvalidArgument
from svckit.ids import new_id, pack_ids, parse_id, unpack_ids
from tests.clock import ManualClock


def time_of_id_ms(made_id: UUID) -> int:
    return made_id.int >> 80


def test_an_id_is_a_uuid_of_version_7_with_its_time_in_front():
    made = new_id(ManualClock(1_645_557_742.0))
    assert (made.version, made.variant) == (7, RFC_4122)
    assert str(made).startswith("017f22e2-79b0-7")  # the time of the example in RFC 9562
    assert time_of_id_ms(made) == 1_645_557_742_000


def test_ids_of_one_millisecond_rise_and_keep_their_time():
    clock = ManualClock(1_900_000_000.0)
    ids = [new_id(clock) for _ in range(20_000)]
    assert all(earlier < later for earlier, later in pairwise(ids))
    assert {one.version for one in ids} == {7}
    assert {one.variant for one in ids} == {RFC_4122}
    assert {time_of_id_ms(one) for one in ids} == {1_900_000_000_000}


def test_ids_cannot_be_guessed_from_one_another():
    clock = ManualClock(1_910_000_000.0)
    ids = [new_id(clock).int for _ in range(99)]
    steps = {later - earlier for earlier, later in pairwise(ids)}
    assert len(steps) == 98
    clock.now_s += 1
    first = new_id(clock).int & (1 << 62) - 1
    clock.now_s += 1
    assert new_id(clock).int & (1 << 62) - 1 != first


def test_a_clock_that_steps_back_a_little_does_not_break_the_order():
    clock = ManualClock(1_920_000_000.0)
    before = new_id(clock)
    clock.now_s -= 9.9
    assert new_id(clock) > before


def test_a_wrong_future_does_not_stick():
    clock = ManualClock(2_500_000_000.0)
    new_id(clock)
    clock.now_s = 1_930_000_000.0
    assert time_of_id_ms(new_id(clock)) == 1_930_000_000_000


def test_the_default_clock_is_the_time():
    assert new_id() < new_id()


@pytest.mark.parametrize("text", ["0193AAAA-bbbb-7ccc-8ddd-0123456789AB", str(UUID(int=0))])
def test_the_canonical_form_is_read_in_either_case(text):
    assert str(parse_id(text, "user_id")) == text.lower()


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "me",
        "0193aaaabbbb7ccc8ddd0123456789ab",
        "{0193aaaa-bbbb-7ccc-8ddd-0123456789ab}",
        "urn:uuid:0193aaaa-bbbb-7ccc-8ddd-0123456789ab",
        "0193aaaa-bbbb-7ccc-8ddd-0123456789a",
        "0193aaaa-bbbb-7ccc-8ddd-0123456789abc",
        "0193aaaa-bbbb-7ccc-8ddd-0123456789ag",
        "0193aaaa-bbbb-7ccc-8ddd-0123456789ab\n",
        " 0193aaaa-bbbb-7ccc-8ddd-0123456789ab",
        "0193aaaab-bbb-7ccc-8ddd-0123456789ab",
        "0193aaaa_bbbb_7ccc_8ddd_0123456789ab",
        "0193aaaa-bbbb-7ccc-8ddd-0123456789\x00b",
        "\uff10193aaa-bbbb-7ccc-8ddd-0123456789ab",
        "\ud800193aaa-bbbb-7ccc-8ddd-0123456789ab",
        "0" * 1_000_000,
    ],
)
def test_any_other_form_is_refused_with_the_field(text):
    with pytest.raises(InvalidArgument) as caught:
        parse_id(text, "user_id")
    (violation,) = caught.value.violations
    assert violation.field == "user_id"
    assert re.search(r"UUID such as [0-9a-f]{8}-", violation.description)


def test_packed_ids_come_back_in_order():
    ids = [uuid4() for _ in range(5)]
    packed = pack_ids(iter(ids))
    assert len(packed) == 80
    assert unpack_ids(packed, "user_ids") == ids
    assert unpack_ids(b"", "user_ids") == []


@pytest.mark.parametrize("length", [1, 15, 17, 31])
def test_a_part_of_an_id_is_refused(length):
    with pytest.raises(InvalidArgument) as caught:
        unpack_ids(bytes(length), "user_ids")
    assert caught.value.violations[0].field == "user_ids"
