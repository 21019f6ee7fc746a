"""Every special address is refused in every spelling, and a name is resolved once."""

from __future__ import annotations

import pytest

from runaudit_service.store.web_address import networks
from runaudit_worker.guarded import AddressRule, EgressFailedError, EgressRefusedError
from runaudit_worker.guarded.addresses import permitted_addresses

SPECIAL = [
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200", "100.127.255.255"),
    *("127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1"),
    *("192.88.99.1", "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.9"),
    *("224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:127.0.0.1"),
    *("64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "100::1", "2001::1", "2001:1::1", "2001:20::1", "2001:db8::1"),
    *("2002:a9fe:a9fe::", "2002:808:808::1", "3fff::1", "5f00::1", "fc00::1", "fd12:3456::1", "fe80::1"),
    *("fe80::1%eth0", "fec0::1", "ff02::1", "ff0e::1", "4000::1"),
]
PUBLIC = ["1.1.1.1", "8.8.8.8", "172.15.255.255", "172.32.0.1", "100.63.255.255", "2606:4700:4700::1111", "2a00::1"]


@pytest.mark.parametrize("address", SPECIAL)
def test_special_addresses_are_refused(address: str) -> None:
    assert not AddressRule().permits(address, 443)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_permitted_at_the_usual_ports_only(address: str) -> None:
    assert AddressRule().permits(address, 443)
    assert AddressRule().permits(address, 80)
    assert not any(AddressRule().permits(address, port) for port in (22, 25, 5432, 6379, 8000))


def test_the_allow_list_opens_its_networks_at_any_port_and_nothing_else() -> None:
    rule = AddressRule(networks("10.1.0.0/16, fd00:1::/32"))
    assert rule.permits("10.1.2.3", 5000)
    assert rule.permits("fd00:1::5", 9000)
    assert not rule.permits("10.2.0.1", 443)
    assert not rule.permits("::ffff:10.1.2.3", 443)
    assert not rule.permits("127.0.0.1", 443)


def test_an_address_outside_of_the_public_space_refuses_the_whole_name() -> None:
    with pytest.raises(EgressRefusedError) as refused:
        permitted_addresses(AddressRule(), lambda _host, _port: ["1.1.1.1", "127.0.0.1"], "mixed.example.org", 443)
    assert refused.value.error_code == "address_not_allowed"
    assert "127.0.0.1" not in refused.value.detail


def test_the_resolver_is_asked_once() -> None:
    asked: list[tuple[str, int]] = []

    def resolver(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["1.1.1.1"] if len(asked) == 1 else ["127.0.0.1"]

    assert permitted_addresses(AddressRule(), resolver, "rebinding.example.org", 443) == ["1.1.1.1"]
    assert asked == [("rebinding.example.org", 443)]


@pytest.mark.parametrize("literal", ["169.254.169.254", "::1", "::ffff:169.254.169.254"])
def test_a_literal_address_is_judged_without_a_resolver(literal: str) -> None:
    def resolver(_host: str, _port: int) -> list[str]:
        raise AssertionError("asked")

    with pytest.raises(EgressRefusedError, match="not a public address"):
        permitted_addresses(AddressRule(), resolver, literal, 443)


@pytest.mark.parametrize("answer", [[], OSError("no such name"), UnicodeError("label too long")])
def test_a_name_without_addresses_may_have_some_later(answer: list[str] | Exception) -> None:
    def resolver(_host: str, _port: int) -> list[str]:
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.raises(EgressFailedError) as failed:
        permitted_addresses(AddressRule(), resolver, "nowhere.example.org", 443)
    assert failed.value.error_code == "host_not_resolved"


def test_an_answer_that_is_no_address_is_refused() -> None:
    with pytest.raises(EgressRefusedError):
        permitted_addresses(AddressRule(), lambda _host, _port: ["localhost"], "odd.example.org", 443)
